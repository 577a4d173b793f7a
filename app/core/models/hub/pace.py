"""How fast downloads may be, and how fast they are."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

DRIP_SECONDS: Final = 60.0
DRIP_BYTES: Final = 256 << 10
_WINDOW_SECONDS: Final = 10.0


class Bandwidth:
    """Lets `bytes_per_second` through, for all downloads together; 0 is no limit. `clock` is monotonic."""

    def __init__(
        self,
        *,
        bytes_per_second: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Returns when `count` bytes that were received are paid for."""
        if not self._rate:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + count / self._rate
        await self._sleep(self._free_at - now)


class Drip:
    """Tells when a server sends so little that the connection is as good as dead."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._count = 0

    def too_slow(self, count: int, seconds: float) -> bool:
        """Whether less than DRIP_BYTES came in the last DRIP_SECONDS; `count` more took `seconds` to come."""
        self._seconds += seconds
        self._count += count
        if self._seconds < DRIP_SECONDS:
            return False
        slow = self._count < DRIP_BYTES
        self._seconds, self._count = 0.0, 0
        return slow


class Speed:
    """The mean of the last seconds. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, count: int) -> None:
        self._seen.append((self._clock(), count))
        self._sum += count

    def bytes_per_second(self) -> float:
        now = self._clock()
        while self._seen and self._seen[0][0] < now - _WINDOW_SECONDS:
            self._sum -= self._seen.popleft()[1]
        if not self._seen:
            return 0.0
        return self._sum / max(0.5, now - self._seen[0][0])
