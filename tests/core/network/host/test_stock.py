"""Stock libp2p talks to a node: same wire, another implementation of what this package replaced."""

import asyncio
import gc
import os
import warnings

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr.multiaddr import Multiaddr

from app.core.network.frames import PROTOCOL, Decoder, Frame, Packet, Tag, pack
from app.core.network.host.reports import Gossiped, Incoming
from app.core.network.host.thread import TrioThread
from tests.support.network_hosts import TOPIC, Peer, Peers

FRAME = Frame(Tag.TENSOR, b"header", os.urandom(700_000))


async def _visit(address: str) -> tuple[list[int], list[Packet]]:
    """What a stock host gets to see of a node: its pings, and what comes back on a stream."""
    listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=listen)
    router = GossipSub(
        protocols=[TProtocol("/meshsub/1.1.0")], degree=3, degree_low=1, degree_high=4, heartbeat_interval=1
    )
    pubsub = Pubsub(host, router, strict_signing=True)
    async with host.run(listen), background_trio_service(router), background_trio_service(pubsub):
        info = info_from_p2p_addr(Multiaddr(address))
        await host.connect(info)
        pings = await PingService(host).ping(info.peer_id, 3)
        stream = await host.new_stream(info.peer_id, [TProtocol(PROTOCOL)])
        await stream.write(pack(FRAME))
        decoder, packets = Decoder(), []
        while not packets:
            packets += decoder.feed(await stream.read(1 << 20))
        await stream.close()
        await pubsub.subscribe(TOPIC)
        with trio.fail_after(20):
            while not router.mesh.get(TOPIC):  # noqa: ASYNC110
                await trio.sleep(0.1)
        await pubsub.publish(TOPIC, b"from a stock peer")
        await trio.sleep(0.5)
    pubsub.seen_messages.stop()
    return pings, packets


def _collect_what_stock_leaves_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_a_stock_peer_connects_pings_streams_and_gossips() -> None:
    async with Peers(Peer()) as (node,):
        thread = TrioThread("stock")
        await thread.start()
        try:
            visit = asyncio.create_task(thread.call(_visit, node.host.listening[0]))
            link = (await node.first(Incoming)).link
            frame = (await link.receive()).frame()
            assert frame == FRAME
            await link.send(pack(frame))
            link.finish()
            assert (await node.first(Gossiped)).body == b"from a stock peer"
            pings, packets = await asyncio.wait_for(visit, 30)
        finally:
            await thread.stop()
            _collect_what_stock_leaves_open()
        assert len(pings) == 3
        assert packets[0].frame() == FRAME
