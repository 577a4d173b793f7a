"""The watcher looks every hour, keeps what it saw through failures, and can be switched off."""

import asyncio
from pathlib import Path

from app.core.kernel.errors import NetworkError
from app.core.models.hub.trending import FIRST_SECONDS, INTERVAL_SECONDS, Snapshot, Trending
from app.core.models.hub.variants import FoundRepo
from tests.support.hub_node import REPO, hub_at
from tests.support.hub_server import HubServer


class Turns:
    """A sleep that lasts until the test lets it end."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._go.wait()
        self._go.clear()

    async def next(self) -> float:
        self._go.set()
        return await self.asked.get()


async def test_it_looks_every_hour_and_keeps_what_it_saw(server: HubServer, tmp_path: Path) -> None:
    turns, failing = Turns(), False
    async with hub_at(tmp_path, server.url) as (hub, _):

        async def search() -> tuple[FoundRepo, ...]:
            if failing:
                raise NetworkError("The hub cannot be reached.")
            return await hub.search("", trending=True)

        async with Trending(search=search, clock=lambda: 1_790_000_000.0, sleep=turns.sleep) as trending:
            assert await turns.asked.get() == FIRST_SECONDS
            assert trending.snapshot == Snapshot()
            assert await turns.next() == INTERVAL_SECONDS
            seen = trending.snapshot
            assert (seen.looked, [repo.repo.id for repo in seen.repos]) == (1_790_000_000.0, [REPO])
            failing = True
            assert await turns.next() == INTERVAL_SECONDS
            assert trending.snapshot == seen


async def test_switched_off_it_asks_nobody(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, watch_trending=False) as (hub, _):
        assert "watching what is popular on the hub" not in {task.get_name() for task in asyncio.all_tasks()}
        assert hub.trending() == Snapshot()
    async with hub_at(tmp_path, server.url, watch_trending=True):
        assert "watching what is popular on the hub" in {task.get_name() for task in asyncio.all_tasks()}
    assert "watching what is popular on the hub" not in {task.get_name() for task in asyncio.all_tasks()}
