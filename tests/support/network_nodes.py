"""Whole networks on loopback, for tests of what two or more nodes do."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from app.core.kernel.events import EventBus
from app.core.network import events, topics
from app.core.network.cache import Database
from app.core.network.frame_stream import FrameStream
from app.core.network.frames import Frame, Tag
from app.core.network.network import Network
from app.core.network.options import NetworkOptions
from app.core.network.services import Services
from app.core.network.topics import Topics


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="test_ask"):
    text: str
    seconds: float = 0.0


class Told(msgspec.Struct, frozen=True, kw_only=True, tag="test_told"):
    text: str


class GetBytes(msgspec.Struct, frozen=True, kw_only=True, tag="test_get_bytes"):
    size: int


class Echo(msgspec.Struct, frozen=True, kw_only=True, tag="test_echo"):
    """Opens a stream that sends back what it gets."""


class Swallow(msgspec.Struct, frozen=True, kw_only=True, tag="test_swallow"):
    """Opens a stream that sends tensors back and throws shards away."""


class News(msgspec.Struct, frozen=True, kw_only=True, tag="test_news"):
    node_id: str
    number: int


class Node:
    """A network with a few services, and what was published on its bus."""

    def __init__(
        self,
        *,
        seed: bytes | None = None,
        database: Database | None = None,
        hosts: Sequence[str] = ("127.0.0.1",),
        **options: Any,
    ) -> None:
        self.errors: list[Exception] = []
        self.bus = EventBus(self.errors.append)
        self.events: list[msgspec.Struct] = []
        self.news: list[tuple[str, News]] = []
        for kind in (events.PeerConnected, events.PeerLost, events.PeerMisbehaved):
            self.bus.subscribe(kind, self.events.append)
        services = Services()
        services.answer(Ask, self._answer)
        services.answer(GetBytes, self._bytes)
        services.accept(Echo, self._echo)
        services.accept(Swallow, self._swallow)
        registry = Topics({topics.MODELS: (News,)})
        registry.handle(News, lambda origin, news: self.news.append((origin, news)))
        settings = {
            "listen_address": "127.0.0.1",
            "listen_port": 0,
            "enable_mdns": False,
            "enable_quic": False,
        }
        self.network = Network(
            seed=seed or os.urandom(32),
            options=NetworkOptions(**{**settings, **options}),
            services=services,
            topics=registry,
            bus=self.bus,
            database=database,
            hosts=lambda: hosts,
        )

    @property
    def peer_id(self) -> str:
        return self.network.peer_id

    async def _answer(self, peer_id: str, ask: Ask) -> Told:
        await asyncio.sleep(ask.seconds)
        return Told(text=f"{ask.text} from {peer_id}")

    async def _bytes(self, peer_id: str, ask: GetBytes) -> Frame:
        return Frame(Tag.SHARD, b"", bytes(ask.size))

    async def _echo(self, peer_id: str, opening: Echo, stream: FrameStream) -> None:
        while True:
            await stream.send(await stream.receive())

    async def _swallow(self, peer_id: str, opening: Swallow, stream: FrameStream) -> None:
        while True:
            frame = await stream.receive()
            if frame.tag is not Tag.SHARD:
                await stream.send(frame)

    def knows(self, *others: "Node") -> bool:
        """Whether it lists each of `others` as a peer."""
        return {peer.peer_id for peer in self.network.peers()} >= {other.peer_id for other in others}
