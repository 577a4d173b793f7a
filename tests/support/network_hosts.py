"""Real libp2p hosts on loopback for the network's tests."""

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TypeVar

import trio

from app.core.network.host.host import Host
from app.core.network.host.link import Link
from app.core.network.host.node import HostOptions
from app.core.network.host.reports import Gossiped, GossipRefused, Incoming, Report
from app.core.network.keys import NodeKeys

R = TypeVar("R")
LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
TOPIC = "swarm/models"


class OpenGate:
    """Admits everyone but whom the test names."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.streams = True

    def admits(self, peer_id: str) -> bool:
        return peer_id not in self.refused

    def takes_stream(self, peer_id: str) -> bool:
        return self.streams

    def opens(self, topic: str, forwarder: str, data: bytes) -> Gossiped | GossipRefused:
        if data.startswith(b"bad"):
            return GossipRefused(forwarder, "forged")
        return Gossiped(topic, forwarder, data)


class Peer:
    """A host and everything it has reported."""

    def __init__(self, *, listen: tuple[str, ...] = LOOPBACK, network_key: bytes | None = None) -> None:
        self.keys = NodeKeys(os.urandom(32))
        self.gate = OpenGate()
        self.reports: list[Report] = []
        self._news = asyncio.Condition()
        options = HostOptions(
            seed=self.keys.seed, listen=listen, topics=(TOPIC,), network_key=network_key, dial_timeout=3.0
        )
        self.host = Host(options=options, gate=self.gate, on_report=self._heard)
        self._tasks: set[asyncio.Task[None]] = set()

    def _heard(self, report: Report) -> None:
        self.reports.append(report)
        task = asyncio.get_running_loop().create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def of(self, kind: type[R]) -> list[R]:
        return [report for report in self.reports if isinstance(report, kind)]

    async def first(self, kind: type[R], where: Callable[[R], bool] = lambda _: True, count: int = 1) -> R:
        """The `count`th report of `kind` that `where` holds for, waiting up to 20 s for it."""

        def found() -> list[R]:
            return [report for report in self.of(kind) if where(report)]

        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    async def dial(self, other: "Peer") -> None:
        await self.host.dial(other.keys.peer_id, other.host.listening)

    async def link_to(self, other: "Peer") -> tuple[Link, Link]:
        """Both ends of a new stream."""
        count = len(other.of(Incoming)) + 1
        ours = await self.host.open(other.keys.peer_id)
        return ours, (await other.first(Incoming, count=count)).link

    async def tasks(self) -> int:
        """How many Trio tasks run in the host's thread."""
        gc.collect()
        return await self.host._thread.call(_count_tasks)


async def _count_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    waiting, count = [root], 0
    while waiting:
        task = waiting.pop()
        count += 1
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)
    return count


class Peers:
    """Some hosts, running while entered."""

    def __init__(self, *peers: Peer) -> None:
        self._peers = peers
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> tuple[Peer, ...]:
        for peer in self._peers:
            await self._stack.enter_async_context(peer.host)
        return self._peers

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def settled(value: Callable[[], R], wanted: Callable[[R], bool], seconds: float = 20.0) -> R:
    """`value()` once `wanted` holds for it."""
    async with asyncio.timeout(seconds):
        while not wanted(got := value()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return got
