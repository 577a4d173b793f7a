"""How many requests run at once, and in which order the others wait. Event-driven: whoever leaves hands
the place to the first in line, so that no place is ever free while somebody waits.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from app.core.kernel.errors import Overloaded

Waiter = tuple[int, int, "asyncio.Future[None]"]


class Admission:
    """At most `running` hold a place and `queued` wait for one; lower priority numbers come first, and
    equal ones in the order they came.
    """

    def __init__(self, *, running: int, queued: int) -> None:
        self._most_running = running
        self._most_queued = queued
        self._waiters: list[Waiter] = []
        self._numbers = count()
        self.running = 0
        self.queued = 0

    @asynccontextmanager
    async def place(self, priority: int) -> AsyncIterator[None]:
        """Holds a place, after waiting for it if need be. Raises Overloaded if too many wait already."""
        await self._enter(priority)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, priority: int) -> None:
        if self.running < self._most_running:
            self.running += 1
            return
        if self.queued >= self._most_queued:
            raise Overloaded(
                f"This node is busy: {self.running} requests are running and {self.queued} are waiting. "
                "Try again later."
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (priority, next(self._numbers), turn))
        self.queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self.queued -= 1
                self._forget(turn)
            raise

    def _leave(self) -> None:
        """Gives the place to the next in line, or frees it."""
        while self._waiters:
            _, _, turn = heapq.heappop(self._waiters)
            if not turn.done():
                self.queued -= 1
                turn.set_result(None)
                return
        self.running -= 1

    def _forget(self, turn: "asyncio.Future[None]") -> None:
        self._waiters = [waiter for waiter in self._waiters if waiter[2] is not turn]
        heapq.heapify(self._waiters)
