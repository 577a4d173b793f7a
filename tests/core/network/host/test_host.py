"""Two or three real hosts on loopback."""

import asyncio
import os

import pytest

from app.core.kernel.errors import NetworkError
from app.core.network.frames import Frame, Tag, pack
from app.core.network.host.link import WINDOW, StreamClosed
from app.core.network.host.reports import BadBytes, Down, Gossiped, GossipRefused, Up
from app.core.network.host.thread import HostStopped
from app.core.network.keys import NodeKeys
from tests.support.network_hosts import TOPIC, Peer, Peers


def tensor(size: int) -> Frame:
    return Frame(Tag.TENSOR, b"header", os.urandom(size))


async def test_two_hosts_connect_and_exchange_frames_both_ways() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        assert (await a.first(Up)).outbound
        assert (await b.first(Up)).peer_id == a.keys.peer_id
        ours, theirs = await a.link_to(b)
        assert theirs.peer_id == a.keys.peer_id
        sent = [tensor(size) for size in (0, 1, 14_336, 300_000, 5_000_000)]
        for frame in sent:
            await ours.send(pack(frame))
        assert [(await theirs.receive()).frame() for _ in sent] == sent
        await theirs.send(pack(sent[2]))
        theirs.finish()
        assert (await ours.receive()).frame() == sent[2]
        with pytest.raises(StreamClosed):
            await ours.receive()


async def test_a_peer_that_leaves_is_reported() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        await b.first(Up)
        await a.host.disconnect(b.keys.peer_id)
        assert (await b.first(Down)).reason == "closed"
        assert (await a.first(Down)).peer_id == b.keys.peer_id


async def test_another_than_the_named_peer_is_not_accepted() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        with pytest.raises(NetworkError):
            await a.host.dial(NodeKeys(bytes(32)).peer_id, (b.host.listening[0].split("/p2p/")[0],))
        assert not a.of(Up)


async def test_a_refused_peer_is_put_out() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        b.gate.refused.add(a.keys.peer_id)
        await a.dial(b)
        await a.first(Down)
        assert not b.of(Up)


@pytest.mark.slow
async def test_members_of_another_private_network_cannot_connect() -> None:
    home, away, public = Peer(network_key=b"h" * 32), Peer(network_key=b"a" * 32), Peer()
    async with Peers(home, Peer(network_key=b"h" * 32), away, public) as (_, second, *_others):
        await second.dial(home)
        await home.first(Up)
        for stranger in (away, public):
            with pytest.raises(NetworkError):
                await asyncio.wait_for(stranger.dial(home), 15)
        assert len(home.of(Up)) == 1
        ours, theirs = await second.link_to(home)
        await ours.send(pack(tensor(500_000)))
        assert len((await theirs.receive()).frame().payload) == 500_000


async def test_a_slow_reader_slows_its_sender_and_nothing_else() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        slow, slow_end = await a.link_to(b)
        frame, sent = pack(tensor(1 << 20)), 0

        async def fill() -> None:
            nonlocal sent
            while True:
                await slow.send(frame)
                sent += 1

        filling = asyncio.create_task(fill())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.5)
        assert sent << 20 < 4 * WINDOW
        quick, quick_end = await a.link_to(b)
        for _ in range(50):
            await quick.send(pack(tensor(14_336)))
            await quick_end.receive()
        for _ in range(20):
            await slow_end.receive()
        await asyncio.sleep(0.1)
        assert sent > before
        filling.cancel()


async def test_what_is_no_frame_ends_the_stream_and_is_reported() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        ours, theirs = await a.link_to(b)
        await ours.send(b"\xff" * 100)
        with pytest.raises(StreamClosed, match="no frame"):
            await theirs.receive()
        assert (await b.first(BadBytes)).peer_id == a.keys.peer_id
        with pytest.raises(StreamClosed):
            await ours.receive()


async def test_an_aborted_stream_ends_on_both_sides() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        ours, theirs = await a.link_to(b)
        ours.abort()
        for link in (ours, theirs):
            with pytest.raises(StreamClosed):
                await link.receive()
        with pytest.raises(StreamClosed):
            await ours.send(b"x")


async def test_streams_beyond_what_the_gate_takes_are_refused() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await a.dial(b)
        b.gate.streams = False
        link = await a.host.open(b.keys.peer_id)
        with pytest.raises(StreamClosed):
            await link.receive()


async def test_a_stream_to_nobody_is_an_error() -> None:
    async with Peers(Peer()) as (a,):
        with pytest.raises(NetworkError, match="not connected"):
            await a.host.open(NodeKeys(bytes(32)).peer_id)


@pytest.mark.slow
async def test_both_dialling_at_once_end_with_one_connection() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        await asyncio.gather(a.dial(b), b.dial(a))
        await asyncio.sleep(2.0)
        for peer in (a, b):
            assert len(peer.of(Up)) == 1
            assert not peer.of(Down)
        ours, theirs = await a.link_to(b)
        await ours.send(pack(tensor(10)))
        await theirs.receive()


async def test_gossip_passes_the_guard_and_a_refused_message_goes_no_further() -> None:
    async with Peers(Peer(), Peer(), Peer()) as (a, b, c):
        await a.dial(b)
        await b.dial(c)
        async with asyncio.timeout(20):
            while await b.host.neighbours(TOPIC) < 2 or not await a.host.neighbours(TOPIC):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await a.host.publish(TOPIC, b"bad news")
        await a.host.publish(TOPIC, b"good news")
        assert (await c.first(Gossiped)).body == b"good news"
        assert (await b.first(GossipRefused)).peer_id == a.keys.peer_id
        assert not c.of(GossipRefused)


async def visits(a: Peer, b: Peer, *, first: int, last: int) -> None:
    """`a` connects, uses a stream and disconnects, again and again."""
    for number in range(first, last + 1):
        await a.dial(b)
        await b.first(Up, count=number)
        ours, theirs = await a.link_to(b)
        await ours.send(pack(tensor(100)))
        await theirs.receive()
        await a.host.disconnect(b.keys.peer_id)
        await a.first(Down, count=number)
        await b.first(Down, count=number)


async def tasks_left(a: Peer, b: Peer, *, at_most: int) -> None:
    async with asyncio.timeout(20):
        while max(await a.tasks(), await b.tasks()) > at_most:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_connections_that_end_leave_no_task_behind() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        before = max(await a.tasks(), await b.tasks())
        await visits(a, b, first=1, last=12)
        await tasks_left(a, b, at_most=before)


@pytest.mark.slow
async def test_a_thousand_visits_leave_nothing_behind() -> None:
    async with Peers(Peer(), Peer()) as (a, b):
        before = max(await a.tasks(), await b.tasks())
        await visits(a, b, first=1, last=1000)
        await tasks_left(a, b, at_most=before)


async def test_calls_fail_once_the_host_has_stopped_and_streams_end() -> None:
    peer, other = Peer(), Peer()
    async with Peers(other):
        async with Peers(peer):
            await peer.dial(other)
            ours, _ = await peer.link_to(other)
            waiting = asyncio.create_task(ours.receive())
            await asyncio.sleep(0.1)
        with pytest.raises(StreamClosed):
            await waiting
        with pytest.raises(HostStopped):
            await peer.host.publish(TOPIC, b"x")
        await other.first(Down)


async def test_a_port_in_use_is_a_clear_error() -> None:
    async with Peers(Peer()) as (a,):
        taken = a.host.listening[0].split("/p2p/")[0].replace("127.0.0.1", "192.0.2.1")
        with pytest.raises(NetworkError, match="port"):
            async with Peers(Peer(listen=(taken,))):
                pass
