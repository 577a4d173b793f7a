"""GossipSub with this node's guard in front: what the guard refuses is neither delivered nor passed on."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio
from libp2p.abc import IHost, INetStream, ISubscriptionAPI
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb.rpc_pb2 import Message
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.tools.anyio_service import background_trio_service

from app.core.network.host.reports import Gate, Gossiped, Report

PROTOCOLS: Final = (TProtocol("/meshsub/1.1.0"), TProtocol("/meshsub/1.0.0"))


class TidyPubsub(Pubsub):
    """Pubsub whose task for a peer ends with the peer's connection.

    Stock, a peer that returns before its departure was noticed replaces its queue, and the task that reads
    the old one waits for ever.
    """

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: RpcQueue) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_when_gone, stream, nursery.cancel_scope.cancel)
            await super().handle_sending_messages(peer_id, stream, queue)
            nursery.cancel_scope.cancel()


async def _when_gone(stream: INetStream, call: Callable[[], None]) -> None:
    assert isinstance(stream, NetStream)
    assert isinstance(stream.swarm_conn, SwarmConn)
    await stream.swarm_conn.event_closed.wait()
    call()


class GossipMesh:
    """The topics this node takes part in. `report` gets what the guard made of each message."""

    def __init__(self, *, host: IHost, gate: Gate, report: Callable[[Report], None], per_second: int) -> None:
        self._gate = gate
        self._report = report
        self._own = host.get_id()
        self._router = GossipSub(
            protocols=PROTOCOLS,
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,
            max_messages_per_topic_per_second=float(per_second),
            max_pending_messages_per_peer=max(1000, per_second),
        )
        self._pubsub = TidyPubsub(host, self._router, strict_signing=True)

    @asynccontextmanager
    async def run(self, topics: Sequence[str]) -> AsyncIterator[None]:
        """Takes part in `topics` for as long as it is entered."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background_trio_service(self._router))
            await stack.enter_async_context(background_trio_service(self._pubsub))
            await self._pubsub.wait_until_ready()
            nursery = await stack.enter_async_context(trio.open_nursery())
            for topic in topics:
                self._pubsub.set_topic_validator(topic, self._guard(topic), is_async_validator=False)
                nursery.start_soon(_drain, await self._pubsub.subscribe(topic))
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
                self._pubsub.seen_messages.stop()

    async def publish(self, topic: str, data: bytes) -> None:
        await self._pubsub.publish(topic, data)

    def neighbours(self, topic: str) -> int:
        """How many peers this node exchanges a topic's messages with directly."""
        return len(self._router.mesh.get(topic, ()))

    def _guard(self, topic: str) -> Callable[[ID, Message], bool]:
        def accept(forwarder: ID, message: Message) -> bool:
            if forwarder == self._own:
                return True
            opened = self._gate.opens(topic, str(forwarder), message.data)
            self._report(opened)
            return isinstance(opened, Gossiped)

        return accept


async def _drain(subscription: ISubscriptionAPI) -> None:
    """Messages are delivered by the guard; the copies queued here are only taken away."""
    while True:
        await subscription.get()
