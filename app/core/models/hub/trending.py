"""Looks from time to time what is popular on the hub, so that it can be suggested at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import msgspec

from app.core.kernel.errors import SwarmError
from app.core.models.hub.variants import FoundRepo

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 3_600.0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What was popular at `looked` (Unix time), None as long as nobody has looked."""

    looked: float | None = None
    repos: tuple[FoundRepo, ...] = ()


class Trending:
    """`async with` looks after a minute and every hour then, by `search`. A hub that fails is asked again
    at the next turn; the last snapshot stays. `clock` is Unix time."""

    def __init__(
        self,
        *,
        search: Callable[[], Awaitable[tuple[FoundRepo, ...]]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._search = search
        self._clock = clock
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self.snapshot = Snapshot()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="watching what is popular on the hub")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        await self._sleep(FIRST_SECONDS)
        while True:
            try:
                self.snapshot = Snapshot(looked=self._clock(), repos=await self._search())
            except SwarmError as error:
                log.info("Nobody knows what is popular on the hub: %s", error.message)
            await self._sleep(INTERVAL_SECONDS)
