"""Requests a minute per address: a token bucket each, in a bounded table.

A bucket holds a minute's worth of requests and refills evenly, so that a burst up to the limit is served
at once. Pure but for the clock that is handed in.
"""

import math
from collections.abc import Callable
from typing import Final

from app.core.api.problems import RateLimited

CLEANUP_SECONDS: Final = 300.0
MAX_BUCKETS: Final = 10_000


class RateLimiter:
    """`per_minute` 0 switches it off. `clock` is monotonic, in seconds."""

    def __init__(self, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._next_cleanup = 0.0

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> None:
        """Counts one request of `address`. Raises RateLimited."""
        if not self._per_minute:
            return
        now = self._clock()
        self._clean(now)
        left = self._left(address, now)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self._per_minute)
            raise RateLimited(
                f"Rate limit reached: {self._per_minute} requests a minute. Try again in {wait} s.",
                retry_after=max(1, wait),
            )
        self._buckets.pop(address, None)
        self._buckets[address] = (left - 1, now)

    def _left(self, address: str, now: float) -> float:
        left, then = self._buckets.get(address, (float(self._per_minute), now))
        return min(float(self._per_minute), left + (now - then) * self._per_minute / 60)

    def _clean(self, now: float) -> None:
        """Forgets full buckets; at the bound, also the one that was used longest ago."""
        if now >= self._next_cleanup:
            self._next_cleanup = now + CLEANUP_SECONDS
            for address in [a for a in self._buckets if self._left(a, now) >= self._per_minute]:
                del self._buckets[address]
        if len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
