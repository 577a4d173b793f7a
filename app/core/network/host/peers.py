"""Connections and pulses: one connection per peer, a heartbeat on each.

Two nodes that dial each other at once end up with two connections. Both then keep the one that was dialled by
the peer with the lower peer id, so both keep the same one.
"""

# ruff: noqa: ARG002  (the arguments are those of libp2p's interface)

import logging
import secrets
from collections.abc import Callable
from typing import Final

import trio
from libp2p.abc import IHost, INetConn, INetStream, INetwork, INotifee
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr import Direction
from multiaddr.multiaddr import Multiaddr

from app.core.network.heartbeat import Frozen, Heartbeat, SendPing
from app.core.network.host.reports import Down, Gate, Report, Up

log: Final = logging.getLogger(__name__)
PING: Final = "/ipfs/ping/1.0.0"
PING_BYTES: Final = 32


class Peers(INotifee):
    """Follows libp2p's connections and reports peers as they come and go.

    `spawn` starts a task that may outlive the callback. All in the Trio thread.
    """

    def __init__(
        self,
        *,
        host: IHost,
        gate: Gate,
        report: Callable[[Report], None],
        spawn: Callable[..., None],
        interval: float,
        patience: float,
    ) -> None:
        self._host = host
        self._own = str(host.get_id())
        self._gate = gate
        self._report = report
        self._spawn = spawn
        self._interval = interval
        self._patience = patience
        self._conns: dict[str, list[SwarmConn]] = {}
        self._frozen: set[str] = set()
        self.round_trips: dict[str, float] = {}

    def connected_ids(self) -> frozenset[str]:
        return frozenset(self._conns)

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        assert isinstance(conn, SwarmConn)
        peer_id = str(conn.muxed_conn.peer_id)
        if not self._gate.admits(peer_id) or peer_id == self._own:
            self._spawn(_close, conn)
            return
        conns = self._conns.setdefault(peer_id, [])
        conns.append(conn)
        if len(conns) == 1:
            self._report(Up(peer_id, _address(conn), _outbound(conn)))
        else:
            self._spawn(self._settle, peer_id)
        self._spawn(self._watch, peer_id, conn)

    async def _settle(self, peer_id: str) -> None:
        await trio.sleep(1.0)
        conns = self._conns.get(peer_id, [])
        if len(conns) < 2:
            return
        wanted = self._own < peer_id
        keep = next((conn for conn in conns if _outbound(conn) is wanted), conns[0])
        for conn in tuple(conns):
            if conn is not keep:
                await _close(conn)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        peer_id = str(conn.muxed_conn.peer_id)
        conns = self._conns.get(peer_id, [])
        if conn not in conns:
            return
        conns.remove(conn)
        if conns:
            return
        del self._conns[peer_id]
        self.round_trips.pop(peer_id, None)
        reason = "frozen" if peer_id in self._frozen else "closed"
        self._frozen.discard(peer_id)
        self._report(Down(peer_id, reason))  # type: ignore[arg-type]

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        return

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        return

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        return

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        return

    async def close(self, peer_id: str) -> None:
        """Ends every connection with a peer."""
        for conn in tuple(self._conns.get(peer_id, ())):
            await _close(conn)

    async def _watch(self, peer_id: str, conn: SwarmConn) -> None:
        """Pings a connection for as long as it lives, and closes it when the peer is frozen."""
        with trio.CancelScope() as scope:
            self._spawn(_when_closed, conn, scope.cancel)
            pulse = Heartbeat(interval=self._interval, patience=self._patience, now=trio.current_time())
            stream: INetStream | None = None
            while True:
                action = pulse.next(trio.current_time())
                if isinstance(action, Frozen):
                    break
                if not isinstance(action, SendPing):
                    await trio.sleep(action.seconds)
                    continue
                with trio.move_on_after(self._patience):
                    stream = await self._beat(peer_id, conn, stream)
                    pulse.answered(trio.current_time())
                    self.round_trips[peer_id] = pulse.rtt or 0.0
        if not conn.is_closed:
            log.info("Peer %s does not answer any more; closing its connection.", peer_id)
            self._frozen.add(peer_id)
            await _close(conn)

    async def _beat(self, peer_id: str, conn: SwarmConn, stream: INetStream | None) -> INetStream | None:
        """One ping over the long-lived ping stream, which is opened anew when the peer has ended it."""
        try:
            if stream is None:
                stream = await open_on(self._host, conn, PING)
            payload = secrets.token_bytes(PING_BYTES)
            await stream.write(payload)
            await _read_exactly(stream, PING_BYTES)
        except Exception as error:
            log.debug("The ping stream to %s ended: %r", peer_id, error)
            if conn.is_closed:
                await trio.sleep_forever()
            return None
        return stream


async def open_on(host: IHost, conn: SwarmConn, protocol: str) -> INetStream:
    """A stream over just this connection, with `protocol` agreed."""
    stream = await conn.new_stream()
    stream._direction = Direction.OUTBOUND
    try:
        selected = await host.multiselect_client.select_one_of(  # type: ignore[attr-defined]
            [TProtocol(protocol)], MultiselectCommunicator(stream)
        )
    except BaseException:
        with trio.CancelScope(shield=True):
            await stream.reset()
        raise
    stream.set_protocol(selected)
    return stream


async def _read_exactly(stream: INetStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def _close(conn: SwarmConn) -> None:
    with trio.CancelScope(shield=True), trio.move_on_after(5.0):
        await conn.close()


async def _when_closed(conn: SwarmConn, call: Callable[[], None]) -> None:
    await conn.event_closed.wait()
    call()


def _outbound(conn: SwarmConn) -> bool:
    return conn.direction == Direction.OUTBOUND


def _address(conn: SwarmConn) -> str:
    addresses = conn.get_transport_addresses()
    return str(addresses[0]) if addresses else ""
