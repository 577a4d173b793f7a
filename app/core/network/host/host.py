"""The host as the asyncio side sees it: typed calls in, reports out."""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final

from app.core.network.host.dht import Dht
from app.core.network.host.link import Link
from app.core.network.host.node import HostOptions, Node
from app.core.network.host.reports import Gate, Gossiped, GossipRefused, Report
from app.core.network.host.thread import TrioThread

log: Final = logging.getLogger(__name__)
MAX_WAITING: Final = 5000


class Host:
    """A libp2p host in a thread of its own, for as long as it is entered.

    `on_report` is called on the asyncio loop, in the order in which things happened; gossip is dropped and
    counted while more than MAX_WAITING messages wait for the loop. `gate` is asked in the host's thread.
    """

    def __init__(self, *, options: HostOptions, gate: Gate, on_report: Callable[[Report], None]) -> None:
        self._thread = TrioThread("network")
        self._on_report = on_report
        self._node = Node(options=options, thread=self._thread, gate=gate, report=self._report)
        self._reported = 0
        self._handled = 0
        self.gossip_dropped = 0
        self.listening: tuple[str, ...] = ()

    async def __aenter__(self) -> "Host":
        """Raises NetworkError when it cannot listen, Unsupported for another libp2p."""
        await self._thread.start()
        try:
            self.listening = await self._thread.call(self._node.start)
        except BaseException:
            await self._thread.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(10):
                await self._thread.call(self._node.stop)
        except TimeoutError:
            log.warning("The network did not stop in time and is cut off.")
        finally:
            await self._thread.stop()

    async def dial(self, peer_id: str, addresses: tuple[str, ...]) -> str:
        """Connects to a peer; the address that answered, "" if it was connected. Raises NetworkError."""
        return await self._thread.call(self._node.dial, peer_id, addresses)

    async def disconnect(self, peer_id: str) -> None:
        await self._thread.call(self._node.disconnect, peer_id)

    async def open(self, peer_id: str) -> Link:
        """A stream of frames to a connected peer. Raises NetworkError."""
        return await self._thread.call(self._node.open, peer_id)

    async def publish(self, topic: str, data: bytes) -> None:
        await self._thread.call(self._node.publish, topic, data)

    async def neighbours(self, topic: str) -> int:
        """How many peers this node exchanges a topic's messages with directly."""
        return await self._thread.call(self._node.neighbours, topic)

    async def met(self, peer_id: str) -> bool:
        """Enters a connected peer into the DHT's routing table; whether it takes part."""
        return await self._thread.call((await self._dht()).met, peer_id)

    async def refresh(self) -> None:
        """Looks for nearer peers in the DHT."""
        await self._thread.call((await self._dht()).refresh)

    async def put(self, key: str, value: bytes) -> None:
        """Stores a signed record."""
        await self._thread.call((await self._dht()).put, key, value)

    async def get(self, key: str) -> bytes | None:
        """A signed record, not yet checked against the clock of the asker."""
        return await self._thread.call((await self._dht()).get, key)

    async def provide(self, name: str) -> bool:
        """Says in the DHT that this node has what `name` stands for."""
        return await self._thread.call((await self._dht()).provide, name)

    async def providers(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Who has what `name` stands for: peer ids with their addresses."""
        return await self._thread.call((await self._dht()).providers, name)

    async def _dht(self) -> Dht:
        return await self._thread.call(self._node.dht)

    def round_trips(self) -> dict[str, float]:
        """Each peer's smoothed round trip in seconds."""
        return self._node.round_trips()

    def _report(self, report: Report) -> None:
        if isinstance(report, Gossiped | GossipRefused) and self._reported - self._handled > MAX_WAITING:
            self.gossip_dropped += 1
            return
        self._reported += 1
        self._thread.to_loop(self._handle, report)

    def _handle(self, report: Report) -> None:
        self._handled += 1
        self._on_report(report)
