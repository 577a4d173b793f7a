"""Whole nodes' networks on loopback, joined as a user would join them."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from app.core.kernel.errors import InvalidRequest, NetworkError
from app.core.network import events
from app.core.network.calls import NoAnswer
from app.core.network.frames import Frame, Tag
from app.core.network.host.link import StreamClosed
from app.core.network.topics import UnhandledVariant
from app.core.storage.database import Database
from tests.support.network_hosts import settled
from tests.support.network_nodes import Ask, Echo, GetBytes, News, Node, Told


async def meet(*nodes: Node) -> None:
    """Each node joins the first with its invite."""
    first, *others = nodes
    for other in others:
        await other.network.join(first.network.invite())
        await settled(lambda other=other: first.knows(other), bool)  # type: ignore[misc]
        await first.network.introduced(other.peer_id)


async def test_two_nodes_meet_by_an_invite_and_list_each_other() -> None:
    a, b = Node(), Node()
    async with a.network, b.network:
        began = time.monotonic()
        assert await b.network.join(a.network.invite()) == a.peer_id
        await settled(lambda: a.knows(b) and b.knows(a), bool)
        assert time.monotonic() - began < 15
        (peer,) = b.network.peers()
        assert peer.encrypted
        assert peer.software == "swarmllm"
        assert peer.outbound
        assert isinstance(a.events[0], events.PeerConnected)


async def test_a_request_is_answered_by_the_peer_it_was_sent_to() -> None:
    a, b = Node(), Node()
    async with a.network, b.network:
        await meet(a, b)
        told = await b.network.request(a.peer_id, Ask(text="hello"), Told)
        assert told.text == f"hello from {b.peer_id}"
        frame = await a.network.fetch(b.peer_id, GetBytes(size=3_000_000))
        assert frame == Frame(Tag.SHARD, b"", bytes(3_000_000))


@pytest.mark.slow
async def test_a_slow_answer_is_acknowledged_and_waited_for() -> None:
    a, b = Node(), Node(acknowledge_timeout=3.0)
    async with a.network, b.network:
        await meet(a, b)
        assert (await b.network.request(a.peer_id, Ask(text="x", seconds=4.0), Told)).text.startswith("x")
        with pytest.raises(NoAnswer):
            await b.network.request(a.peer_id, Ask(text="x", seconds=9.0), Told, timeout=0.2)


async def test_streams_carry_frames_both_ways_sealed() -> None:
    a, b = Node(), Node()
    async with a.network, b.network:
        await meet(a, b)
        stream = await b.network.open_stream(a.peer_id, Echo())
        assert stream.sealed
        for size in (0, 14_336, 2_000_000):
            frame = Frame(Tag.TENSOR, b"header", os.urandom(size))
            await stream.send(frame)
            assert await stream.receive() == frame
        stream.finish()
        with pytest.raises(StreamClosed):
            await stream.receive()


async def test_a_node_without_encryption_talks_to_one_with_it() -> None:
    a, b = Node(), Node(enable_encryption=False)
    async with a.network, b.network:
        await meet(a, b)
        assert (await b.network.request(a.peer_id, Ask(text="x"), Told)).text.startswith("x")
        assert not b.network.peers()[0].encrypted


async def test_what_a_peer_does_not_know_is_an_error_and_costs_nothing() -> None:
    a, b = Node(), Node()
    async with a.network, b.network:
        await meet(a, b)
        with pytest.raises(NetworkError):
            await b.network.request(a.peer_id, Told(text="this is no request"), Told)
        assert a.network.peers()[0].conduct == 1.0
        assert not a.errors


async def test_gossip_reaches_everyone_once_with_its_origin() -> None:
    nodes = [Node() for _ in range(4)]
    a, b, c, d = nodes
    async with a.network, b.network, c.network, d.network:
        await meet(*nodes)
        host = b.network._roster.host
        async with asyncio.timeout(20):
            while await host.neighbours("swarm/models") < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)
        for number in range(100):
            await b.network.publish(News(node_id=b.network.node_id, number=number))
        for node in (a, c, d):
            await settled(lambda node=node: len(node.news), lambda count: count >= 100)  # type: ignore[misc]
            assert sorted(news.number for _, news in node.news) == list(range(100))
        assert not b.news


async def test_peer_exchange_brings_the_third_node_in() -> None:
    a, b, c = Node(), Node(), Node()
    async with a.network, b.network, c.network:
        await meet(a, b, c)
        await settled(lambda: c.knows(a, b) and b.knows(a, c), bool)


async def test_a_node_returns_to_its_peers_after_a_restart(tmp_path: Path) -> None:
    a, seed = Node(), os.urandom(32)
    async with a.network, Database(tmp_path / "node.db", on_rebuilt=lambda _: None) as database:
        first = Node(seed=seed, database=database)
        async with first.network:
            await meet(a, first)
        again = Node(seed=seed, database=database)
        async with again.network:
            await settled(lambda: again.knows(a), bool)


async def test_a_bootstrap_peer_is_dialled_at_start() -> None:
    a = Node()
    async with a.network:
        b = Node(bootstrap_peers=("garbage", str(a.network.addresses[0])))
        async with b.network:
            await settled(lambda: b.knows(a), bool)


@pytest.mark.slow
async def test_another_private_network_stays_apart() -> None:
    a, b = Node(gossip_network_id="family"), Node(gossip_network_id="firm", dial_timeout=2.0)
    async with a.network, b.network:
        with pytest.raises(NetworkError):
            await b.network.join(a.network.invite())
        assert not a.network.peers()
        c = Node(gossip_network_id="family")
        async with c.network:
            await meet(a, c)


async def test_a_lost_connection_is_told_and_made_again() -> None:
    a, b = Node(), Node()
    async with a.network, b.network:
        await meet(a, b)
        await a.network.disconnect(b.peer_id)
        await settled(lambda: [e for e in b.events if isinstance(e, events.PeerLost)], bool)
        await settled(lambda: a.knows(b) and b.knows(a), bool)
        await b.network.introduced(a.peer_id)
        assert (await b.network.request(a.peer_id, Ask(text="back"), Told)).text.startswith("back")


@pytest.mark.slow
async def test_a_peer_that_breaks_the_protocol_is_banned_and_cannot_return() -> None:
    a, b, c = Node(), Node(), Node()
    async with a.network, b.network, c.network:
        await meet(a, b, c)
        host = b.network._roster.host
        for _ in range(3):
            link = await host.open(a.peer_id)
            await link.send(b"\xff" * 64)
            with pytest.raises(StreamClosed):
                await link.receive()
        await settled(lambda: a.knows(b), lambda known: not known)
        lost = [event for event in a.events if isinstance(event, events.PeerLost)]
        assert lost[-1].reason == "banned"
        with pytest.raises(NetworkError):
            await a.network.dial(b.peer_id)
        assert (await c.network.request(a.peer_id, Ask(text="honest"), Told)).text.startswith("honest")


async def test_joining_oneself_or_nonsense_is_refused_with_a_sentence() -> None:
    a = Node()
    async with a.network:
        with pytest.raises(InvalidRequest, match="own"):
            await a.network.join(a.network.invite())
        for text in ("hello", "swarm://abc", "/ip4/127.0.0.1/tcp/1"):
            with pytest.raises(InvalidRequest):
                await a.network.join(text)


async def test_a_request_to_a_stranger_is_an_error() -> None:
    a, b = Node(), Node()
    async with a.network:
        with pytest.raises(NetworkError, match="not connected"):
            await a.network.request(b.peer_id, Ask(text="x"), Told)
    with pytest.raises(NetworkError):
        await a.network.publish(News(node_id="x", number=1))


async def test_a_gap_in_the_handlers_stops_the_start() -> None:
    a = Node()
    a.network._topics._handlers.clear()
    with pytest.raises(UnhandledVariant):
        await a.network.__aenter__()


@pytest.mark.slow
async def test_records_and_providers_are_found_through_the_dht() -> None:
    a, b, c = Node(), Node(peer_exchange=False), Node(peer_exchange=False)
    async with a.network, b.network, c.network:
        await meet(a, b, c)
        await b.network.put_record("shards/llama", b"1-4")
        await b.network.provide("llama")
        record = None
        async with asyncio.timeout(20):
            while record is None:
                record = await c.network.get_record("shards/llama")
        assert (record.origin, record.data) == (b.network.node_id, b"1-4")
        assert b.peer_id in await c.network.providers("llama")
        assert await a.network.get_record("nothing of the kind") is None


async def test_a_node_is_reached_over_quic_where_that_is_its_address() -> None:
    a, b = Node(enable_quic=True), Node(enable_quic=True)
    async with a.network, b.network:
        quic = next(str(place) for place in a.network.addresses if place.transport == "quic-v1")
        await b.network.join(quic)
        assert "quic-v1" in b.network.peers()[0].address
        assert (await b.network.request(a.peer_id, Ask(text="over QUIC"), Told)).text.startswith("over QUIC")


@pytest.mark.slow
async def test_nothing_is_lost_at_two_hundred_messages_a_second() -> None:
    nodes = [Node() for _ in range(4)]
    a, b, c, d = nodes
    async with a.network, b.network, c.network, d.network:
        await meet(*nodes)
        await settled(lambda: all(node.knows(*(set(nodes) - {node})) for node in nodes), bool)
        await asyncio.sleep(2.5)
        for number in range(1000):
            await b.network.publish(News(node_id=b.network.node_id, number=number))
            await asyncio.sleep(0.005)
        for node in (a, c, d):
            await settled(lambda node=node: len(node.news), lambda count: count >= 1000)  # type: ignore[misc]
            assert sorted(news.number for _, news in node.news) == list(range(1000))
            assert node.network.gossip_dropped == 0
