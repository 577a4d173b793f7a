"""When to try a peer again that could not be reached."""

from collections.abc import Callable
from typing import Final

import msgspec

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0


class Backoff(msgspec.Struct, frozen=True):
    """Doubling waits with full jitter above the half, from a second to five minutes.

    `failures` counts attempts in a row that failed, `until` is when the next one may be made. A success is
    the start of a new, empty one.
    """

    failures: int = 0
    until: float = 0.0

    def failed(self, now: float, uniform: Callable[[], float]) -> "Backoff":
        """After one more failure; `uniform` returns a random number from 0 to 1."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self.failures, 16))
        return Backoff(self.failures + 1, now + longest * (0.5 + uniform() / 2))

    def ready(self, now: float) -> bool:
        return now >= self.until
