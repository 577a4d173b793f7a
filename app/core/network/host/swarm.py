"""libp2p's swarm with two leaks closed.

Stock, the task that accepted a connection waits for the whole node to stop, and with it the connection's
socket, its objects and its slot among the inbound connections: a node stops accepting for good after
`max_connections` visits. And the muxer that was asked for is not the one that is used for Yamux.
"""

from collections.abc import Callable
from contextvars import ContextVar

import trio
from libp2p.abc import IMuxedConn, INetConn, IRawConnection, ISecureConn
from libp2p.custom_types import TMuxerOptions, TProtocol, TSecurityOptions
from libp2p.io.abc import ReadWriteCloser
from libp2p.metrics.swarm import SwarmEvent
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.transport.exceptions import MuxerUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr.multiaddr import Multiaddr

from app.core.network.host.noise import NoiseTransport
from app.core.network.host.private import ProtectedConn
from app.core.network.host.yamux import YamuxConn

YAMUX = TProtocol("/yamux/1.0.0")


may_dial: ContextVar[bool] = ContextVar("may_dial", default=False)


class Upgrader(TransportUpgrader):
    """Noise, then this package's Yamux; nothing else is offered or taken."""

    def __init__(self, noise: NoiseTransport) -> None:
        security: TSecurityOptions = {NOISE: noise}
        muxers: TMuxerOptions = {YAMUX: YamuxConn}
        super().__init__(security, muxers)

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        try:
            muxer = await self.muxer_multistream.select_transport(conn)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("The peer speaks no Yamux.") from error
        return muxer(conn, peer_id)


class NoAutoConnector(AutoConnector):
    """Dials nobody."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:  # noqa: ARG002
        return


class NodeSwarm(Swarm):
    """A swarm whose inbound connections leave nothing behind, under the network's key if it has one."""

    private_key: str | None = None
    admits: Callable[[str], bool] = staticmethod(lambda _: True)

    def _init_connection_management(self) -> None:
        super()._init_connection_management()
        self.auto_connector = NoAutoConnector(swarm=self)

    async def _do_handle_inbound_connection(
        self, read_write_closer: ReadWriteCloser, maddr: Multiaddr, failure_event: SwarmEvent
    ) -> None:
        del failure_event
        remote = self._build_remote_multiaddr(read_write_closer)
        if remote is not None and not await self.connection_gate.is_allowed(remote):
            await read_write_closer.close()
            return
        if isinstance(read_write_closer, IMuxedConn):
            conn: IMuxedConn = read_write_closer
            await self.add_conn(conn, direction="inbound")
        else:
            conn = await self.upgrade_inbound_raw_conn(RawConnection(read_write_closer, False), maddr)
        for swarm_conn in tuple(self.connections.get(conn.peer_id, ())):
            if isinstance(swarm_conn, SwarmConn) and swarm_conn.muxed_conn is conn:
                await swarm_conn.event_closed.wait()

    async def upgrade_inbound_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> IMuxedConn:
        return await super().upgrade_inbound_raw_conn(self._protected(raw_conn), maddr)

    async def upgrade_outbound_raw_conn(
        self, raw_conn: IRawConnection, peer_id: ID, pre_scope: object = None
    ) -> SwarmConn:
        return await super().upgrade_outbound_raw_conn(self._protected(raw_conn), peer_id, pre_scope)

    def _schedule_auto_connect(self) -> None:
        """Whom to dial is decided by the address book; libp2p redials whomever it has heard of."""

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Refuses, but for a task of the DHT: connections come from `dial_addr`.

        libp2p's other services dial whenever they want a stream, and so bring back a peer that was put out.
        """
        if not may_dial.get() or not self.admits(str(peer_id)):
            raise SwarmException(f"The peer {peer_id} is not connected.")
        return await super().dial_peer(peer_id)

    def _protected(self, raw_conn: IRawConnection) -> IRawConnection:
        return raw_conn if self.private_key is None else ProtectedConn(raw_conn, self.private_key)
