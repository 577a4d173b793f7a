"""A peer that follows the handshake and then nothing else."""

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator

import psutil
import pytest

from app.core.kernel.errors import NetworkError
from app.core.network import events
from app.core.network.frames import PREFIX, SEALED, Frame, Tag, pack
from app.core.network.host.link import Link, StreamClosed
from app.core.network.messages import Hello, to_frame
from app.core.network.sessions import KeyOffer
from tests.support.network_hosts import TOPIC, Peer, Peers, settled
from tests.support.network_nodes import Ask, Node, Told

pytestmark = pytest.mark.slow


class Scene:
    """A node, an honest one that talks to it, and the evil host."""

    def __init__(self, node: Node, honest: Node, evil: Peer) -> None:
        self.node = node
        self.honest = honest
        self.evil = evil

    @property
    def banned(self) -> bool:
        return any(
            isinstance(event, events.PeerMisbehaved) and event.banned_until is not None
            for event in self.node.events
        )

    async def open(self) -> Link | None:
        try:
            return await self.evil.host.open(self.node.peer_id)
        except NetworkError:
            return None

    async def attack(self, data: bytes) -> None:
        """Sends `data` on a stream of its own, and waits until the node has ended it."""
        link = await self.open()
        if link is None:
            return
        try:
            await link.send(data)
            link.finish()
            async with asyncio.timeout(12):
                while True:
                    await link.receive()
        except (StreamClosed, TimeoutError):
            link.abort()

    async def honest_traffic_goes_on(self) -> None:
        told = await self.honest.network.request(self.node.peer_id, Ask(text="still there?"), Told)
        assert told.text.startswith("still there?")
        assert self.node.knows(self.honest)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    node, honest, evil = Node(requests_per_second=50), Node(), Peer()
    async with node.network, honest.network, Peers(evil):
        await honest.network.join(node.network.invite())
        await evil.host.dial(node.peer_id, tuple(str(place) for place in node.network.addresses))
        await settled(node.network._roster.known.keys, lambda known: evil.keys.peer_id in known)
        yield Scene(node, honest, evil)
        assert not node.errors


HELLO = Hello(version=1, node_id="someone else", software="evil")


@pytest.mark.parametrize(
    "data",
    [
        PREFIX.pack(Tag.SHARD, 0, 10, 0xFFFFFFFF),
        PREFIX.pack(Tag.TENSOR, SEALED, 10, 1 << 30),
        os.urandom(4000),
        pack(Frame(Tag.JSON, b'{"type":"test_ask","text":5}')),
        pack(Frame(Tag.JSON, b"[" * 100_000)),
        pack(Frame(Tag.TENSOR, b"", b"before anything was opened")),
        pack(to_frame(HELLO)),
    ],
    ids=["giant", "sealed giant", "noise", "wrong type", "nested", "out of place", "another's name"],
)
async def test_an_offender_is_banned_and_the_others_notice_nothing(scene: Scene, data: bytes) -> None:
    for _ in range(12):
        if scene.banned:
            break
        await scene.attack(data)
    await settled(lambda: scene.banned, bool)
    await settled(scene.node.network._roster.known.keys, lambda known: len(known) == 1)
    await scene.honest_traffic_goes_on()
    with pytest.raises(NetworkError):
        await scene.node.network.dial(scene.evil.keys.peer_id)


async def test_frames_cut_short_cost_nothing_and_harm_nothing(scene: Scene) -> None:
    whole = pack(to_frame(Ask(text="x" * 1000)))
    for size in random.Random(1).sample(range(1, len(whole)), 30):
        await scene.attack(whole[:size])
    await scene.honest_traffic_goes_on()
    assert not scene.banned


async def test_sealed_frames_without_keys_are_refused(scene: Scene) -> None:
    frame = PREFIX.pack(Tag.JSON, SEALED, 10, 0) + os.urandom(38)
    await asyncio.gather(*(scene.attack(frame) for _ in range(20)))
    await scene.honest_traffic_goes_on()


async def test_keys_offered_in_anothers_name_are_refused(scene: Scene) -> None:
    hello = Hello(version=1, node_id=scene.evil.keys.node_id, software="evil")
    offer = KeyOffer(node_id=scene.honest.network.node_id, epoch=1, ephemeral=os.urandom(32))
    await scene.attack(pack(to_frame(hello)) + pack(to_frame(offer)) * 5)
    await settled(lambda: scene.banned, bool)
    await scene.honest_traffic_goes_on()


async def test_thousands_of_streams_are_refused_and_end_in_a_ban(scene: Scene) -> None:
    before = psutil.Process().memory_info().rss
    for _ in range(40):
        if scene.banned:
            break
        await asyncio.gather(*(scene.open() for _ in range(100)))
    await settled(lambda: scene.banned, bool)
    await scene.honest_traffic_goes_on()
    assert psutil.Process().memory_info().rss - before < 200 << 20


async def test_forged_gossip_ends_in_a_ban(scene: Scene) -> None:
    async with asyncio.timeout(20):
        while not await scene.evil.host.neighbours(TOPIC):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for number in range(30):
        await scene.evil.host.publish(TOPIC, struct.pack(">B", number) + os.urandom(200))
    await settled(lambda: scene.banned, bool)
    assert not scene.node.news
    await scene.honest_traffic_goes_on()
