"""The libp2p node itself, in the Trio thread: listening, dialling, streams, gossip."""

import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
import trio
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.transport.quic.transport import QUICTransport
from libp2p.transport.tcp.tcp import TCP
from multiaddr.multiaddr import Multiaddr

from app.core.kernel.errors import NetworkError
from app.core.network.frames import PROTOCOL
from app.core.network.host.dht import Dht
from app.core.network.host.gossip import GossipMesh
from app.core.network.host.link import Link
from app.core.network.host.noise import NoiseTransport
from app.core.network.host.peers import Peers, open_on
from app.core.network.host.pinned import check_pinned
from app.core.network.host.private import psk_of
from app.core.network.host.reports import BadBytes, Flooded, Gate, Incoming, Report
from app.core.network.host.swarm import NodeSwarm, Upgrader
from app.core.network.host.thread import TrioThread

log: Final = logging.getLogger(__name__)
NEGOTIATE_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the host is made of. `listen` are multiaddrs; with `network_key` only its holders are met."""

    seed: bytes
    listen: tuple[str, ...]
    topics: tuple[str, ...]
    network_key: bytes | None = None
    max_connections: int = 500
    dial_timeout: float = 10.0
    heartbeat_interval: float = 1.0
    heartbeat_patience: float = 4.0
    gossip_per_second: int = 1000

    def __repr__(self) -> str:
        return f"HostOptions(listen={self.listen})"


class Node:
    """A running libp2p host. Every method is for the Trio thread."""

    def __init__(
        self, *, options: HostOptions, thread: TrioThread, gate: Gate, report: Callable[[Report], None]
    ) -> None:
        self._options = options
        self._thread = thread
        self._gate = gate
        self._report = report
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._host: IHost | None = None
        self._swarm: NodeSwarm | None = None
        self._peers: Peers | None = None
        self._mesh: GossipMesh | None = None
        self._dht: Dht | None = None

    async def start(self) -> tuple[str, ...]:
        """Starts to listen; returns the addresses, each naming this node. Raises NetworkError."""
        check_pinned()
        started = trio.Event()
        failed: list[Exception] = []

        async def life() -> None:
            try:
                await self._live(started)
            except Exception as error:
                if started.is_set():
                    raise
                failed.append(error)
            finally:
                self._stopped.set()
                started.set()

        self._thread.spawn(life)
        await started.wait()
        if failed:
            raise NetworkError(f"The network could not be started: {failed[0]}") from failed[0]
        if not self._listening():
            await self.stop()
            raise NetworkError("No port could be opened for peers: another program may be using it.")
        return self._listening()

    async def _live(self, started: trio.Event) -> None:
        host, swarm = _build(self._options)
        self._host, self._swarm = host, swarm
        self._peers = Peers(
            host=host,
            gate=self._gate,
            report=self._report,
            spawn=self._thread.spawn,
            interval=self._options.heartbeat_interval,
            patience=self._options.heartbeat_patience,
        )
        swarm.register_notifee(self._peers)
        swarm.admits = self._gate.admits
        self._dht = Dht(host=host, wall=time.time)
        host.set_stream_handler(TProtocol(PROTOCOL), self._on_stream)
        self._mesh = GossipMesh(
            host=host, gate=self._gate, report=self._report, per_second=self._options.gossip_per_second
        )
        listen = [Multiaddr(text) for text in self._options.listen]
        async with host.run(listen), self._mesh.run(self._options.topics), self._dht.run():
            started.set()
            await self._stopping.wait()
            with trio.move_on_after(STOP_SECONDS):
                await host.close()

    async def stop(self) -> None:
        """Closes all connections and returns when nothing is left running."""
        self._stopping.set()
        await self._stopped.wait()

    def _listening(self) -> tuple[str, ...]:
        assert self._host is not None
        return tuple(str(address) for address in self._host.get_addrs())

    async def dial(self, peer_id: str, addresses: tuple[str, ...]) -> str:
        """Connects to a peer at the first of `addresses` that answers and returns it.

        Each address gets a head start of a quarter second over the next. Raises NetworkError.
        """
        peers, swarm = self._parts()
        if peer_id in peers.connected_ids():
            return ""
        winner: list[str] = []
        failures: list[str] = []
        expected = ID.from_base58(peer_id)
        with trio.move_on_after(self._options.dial_timeout):
            async with trio.open_nursery() as nursery:

                async def attempt(text: str) -> None:
                    try:
                        await swarm.dial_addr(Multiaddr(text), expected)
                    except Exception as error:
                        failures.append(f"{text}: {_cause(error)}")
                        return
                    winner.append(text)
                    nursery.cancel_scope.cancel()

                for text in addresses:
                    nursery.start_soon(attempt, text)
                    await trio.sleep(0.25)
        if not winner:
            reason = "; ".join(failures) or "no answer in time"
            raise NetworkError(f"The peer {peer_id} could not be reached ({reason}).")
        return winner[0]

    async def disconnect(self, peer_id: str) -> None:
        """Ends every connection with a peer."""
        await self._parts()[0].close(peer_id)

    async def open(self, peer_id: str) -> Link:
        """A new stream of frames to a connected peer. Raises NetworkError."""
        _, swarm = self._parts()
        conns = [
            conn
            for conn in swarm.connections.get(ID.from_base58(peer_id), ())
            if isinstance(conn, SwarmConn) and not conn.is_closed
        ]
        if not conns:
            raise NetworkError(f"The peer {peer_id} is not connected.")
        assert self._host is not None
        stream = None
        with trio.move_on_after(NEGOTIATE_SECONDS):
            try:
                stream = await open_on(self._host, conns[0], PROTOCOL)
            except Exception as error:
                raise NetworkError(f"The peer {peer_id} takes no stream ({_cause(error)}).") from error
        if stream is None:
            raise NetworkError(f"The peer {peer_id} did not answer to a new stream in time.")
        link = Link(thread=self._thread, peer_id=peer_id, on_bad=self._on_bad)
        self._thread.spawn(link.pump, stream)
        return link

    async def publish(self, topic: str, data: bytes) -> None:
        assert self._mesh is not None
        await self._mesh.publish(topic, data)

    async def neighbours(self, topic: str) -> int:
        assert self._mesh is not None
        return self._mesh.neighbours(topic)

    async def dht(self) -> Dht:
        """This node's part of the DHT. Raises NetworkError while there is none."""
        if self._dht is None:
            raise NetworkError("The network is not running.")
        return self._dht

    def round_trips(self) -> dict[str, float]:
        """Each peer's smoothed round trip in seconds. May be called from any thread."""
        return dict(self._peers.round_trips) if self._peers is not None else {}

    async def _on_stream(self, stream: INetStream) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        if not self._gate.takes_stream(peer_id):
            self._report(Flooded(peer_id))
            await stream.reset()
            return
        link = Link(thread=self._thread, peer_id=peer_id, on_bad=self._on_bad)
        self._report(Incoming(link))
        await link.pump(stream)

    def _on_bad(self, peer_id: str) -> None:
        self._report(BadBytes(peer_id))

    def _parts(self) -> tuple[Peers, NodeSwarm]:
        if self._peers is None or self._swarm is None:
            raise NetworkError("The network is not running.")
        return self._peers, self._swarm


def _build(options: HostOptions) -> tuple[BasicHost, NodeSwarm]:
    private = Ed25519PrivateKey.from_bytes(options.seed)
    pair = KeyPair(private, private.get_public_key())
    peer_id = ID.from_pubkey(pair.public_key)
    store = PeerStore()
    store.add_key_pair(peer_id, pair)
    noise = NoiseTransport(pair, noise_privkey=create_new_key_pair().private_key)
    transports = [TCP(), *([QUICTransport(private)] if any("/quic-v1" in a for a in options.listen) else [])]
    swarm = NodeSwarm(
        peer_id,
        store,
        Upgrader(noise),
        transports,
        connection_config=ConnectionConfig(
            max_connections=options.max_connections,
            min_connections=0,
            low_watermark=0,
            high_watermark=options.max_connections,
            dial_timeout=options.dial_timeout,
        ),
    )
    if options.network_key is not None:
        swarm.private_key = psk_of(options.network_key)
    host = BasicHost(network=swarm, negotiate_timeout=int(NEGOTIATE_SECONDS))
    return host, swarm


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
