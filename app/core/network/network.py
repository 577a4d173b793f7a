"""The network as the rest of the node uses it."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from app.core.kernel.errors import InvalidRequest, NetworkError
from app.core.kernel.events import EventBus
from app.core.network import calls, events
from app.core.network.addresses import Address
from app.core.network.book import AddressBook
from app.core.network.cache import Database, PeerCache
from app.core.network.conduct import Conduct, Offence
from app.core.network.discovery import Discovery, meant
from app.core.network.frame_stream import FrameStream
from app.core.network.frames import Frame
from app.core.network.host.host import Host
from app.core.network.host.node import HostOptions
from app.core.network.host_gate import HostGate
from app.core.network.interfaces import advertised, lan_hosts, own_hosts
from app.core.network.invite import make_invite
from app.core.network.keys import NodeKeys, node_id_of
from app.core.network.mdns import Mdns
from app.core.network.messages import expect, to_frame
from app.core.network.options import NetworkOptions
from app.core.network.records import NAMESPACE, BadRecord, Record, make_record, read_record
from app.core.network.roster import Roster
from app.core.network.seal import Gossip, network_secret
from app.core.network.services import Services
from app.core.network.tasks import Tasks
from app.core.network.topics import TOPICS, Topics

M = TypeVar("M", bound=msgspec.Struct)
JOIN_SECONDS: Final = 15.0


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A connected peer.

    `round_trip` is in seconds, None before the first heartbeat; `since` in unix seconds; `conduct` from 1
    down to 0, at which a peer is banned; `encrypted` whether frames are sealed beyond the transport.
    """

    peer_id: str
    node_id: str
    address: str
    outbound: bool
    software: str
    encrypted: bool
    round_trip: float | None
    since: float
    conduct: float


class Network:
    """Meets peers and talks to them, for as long as it is entered.

    `seed` is the node's 32-byte Ed25519 seed. `services` and `topics` are complete before it is entered.
    `clock` counts seconds, `wall` is unix time; `hosts` gives this machine's own IPv4 addresses.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        options: NetworkOptions,
        services: Services,
        topics: Topics,
        bus: EventBus,
        database: Database | None = None,
        software: str = "swarmllm",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        hosts: Callable[[], Sequence[str]] = own_hosts,
    ) -> None:
        self._keys = NodeKeys(seed)
        self._options = options
        self._topics = topics
        self._bus = bus
        self._wall = wall
        self._hosts = hosts
        self._secret = network_secret(options.gossip_network_id)
        self._sealing = self._new_gossip()
        self._tasks = Tasks()
        self._conduct = Conduct(clock=clock)
        self._gate = HostGate(
            gossip=self._new_gossip(),
            clock=clock,
            per_second=options.requests_per_second,
            max_peers=options.max_peers,
            banned=self._conduct.banned,
        )
        self._discovery = Discovery(
            book=AddressBook(own=self._keys.peer_id, uniform=random.random),
            cache=None if database is None else PeerCache(database=database, limit=options.cache_peers),
            conduct=self._conduct,
            options=options,
            tasks=self._tasks,
            wall=wall,
        )
        self._roster = Roster(
            keys=self._keys,
            options=options,
            services=services,
            topics=topics,
            bus=bus,
            discovery=self._discovery,
            conduct=self._conduct,
            counted=self._gate.count,
            tasks=self._tasks,
            software=software,
            clock=clock,
            wall=wall,
            random=os.urandom,
        )
        self._stack = AsyncExitStack()

    def _new_gossip(self) -> Gossip:
        return Gossip(keys=self._keys, secret=self._secret, wall=self._wall, random=os.urandom)

    @property
    def peer_id(self) -> str:
        """This node's libp2p peer id."""
        return self._keys.peer_id

    @property
    def node_id(self) -> str:
        """This node's id: the hex of its public key."""
        return self._keys.node_id

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where other nodes can find this one, widest scope first."""
        return self._roster.addresses

    async def __aenter__(self) -> "Network":
        """Raises UnhandledVariant when a gossip message has no handler, NetworkError when no port is free."""
        self._topics.check()
        await self._discovery.load()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._tasks.stop)
            host = await stack.enter_async_context(
                Host(options=self._host_options(), gate=self._gate, on_report=self._roster.on_report)
            )
            addresses = advertised(host.listening, self._hosts())
            self._roster.attach(host, addresses)
            stack.callback(self._roster.detach)
            stack.push_async_callback(self._tasks.stop)
            interfaces = lan_hosts(addresses)
            if self._options.enable_mdns and interfaces:
                await stack.enter_async_context(self._mdns(addresses, interfaces))
            self._discovery.start(dial=host.dial, refresh=host.refresh, connected=self._roster.known.keys)
            self._stack = stack.pop_all()
        self._bus.publish(events.ListeningChanged(addresses=tuple(str(place) for place in addresses)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await self._discovery.save()

    def _host_options(self) -> HostOptions:
        options = self._options
        tcp = options.listen_port + 10 if options.listen_port else 0
        kind = "ip6" if ":" in options.listen_address else "ip4"
        private = options.gossip_network_id is not None
        listen = [f"/{kind}/{options.listen_address}/tcp/{tcp}"]
        if options.enable_quic and not private:
            listen.append(f"/{kind}/{options.listen_address}/udp/{options.listen_port}/quic-v1")
        return HostOptions(
            seed=self._keys.seed,
            listen=tuple(listen),
            topics=TOPICS,
            network_key=self._secret if private else None,
            max_connections=options.max_connections,
            dial_timeout=options.dial_timeout,
            heartbeat_interval=options.heartbeat_interval,
            heartbeat_patience=options.heartbeat_patience,
            gossip_per_second=options.gossip_messages_per_second,
        )

    def _mdns(self, addresses: Sequence[Address], interfaces: Sequence[str]) -> Mdns:
        return Mdns(
            gossip_network_id=self._options.gossip_network_id,
            addresses=addresses,
            found=self._discovery.on_lan,
            interfaces=interfaces,
        )

    def peers(self) -> tuple[Peer, ...]:
        """The peers that have introduced themselves."""
        known = self._roster.known
        trips = self._roster.host.round_trips() if known else {}
        return tuple(
            Peer(
                peer_id=peer_id,
                node_id=node_id_of(peer_id),
                address=peer.up.address,
                outbound=peer.up.outbound,
                software=peer.control.hello.software,
                encrypted=peer.control.sealed,
                round_trip=trips.get(peer_id),
                since=peer.since,
                conduct=self._conduct.score(peer_id),
            )
            for peer_id, peer in known.items()
            if peer.control.hello is not None
        )

    def invite(self) -> str:
        """A code with which another node finds this one. Raises InvalidRequest when it listens nowhere."""
        reachable = [address for address in self.addresses if address.transport == "tcp"]
        return make_invite(reachable, random=os.urandom)

    async def join(self, text: str) -> str:
        """Connects to the node of an invite code or a multiaddr; returns its peer id once it has said hello.

        Raises InvalidRequest for text that is neither, NetworkError when the node cannot be reached.
        """
        addresses = meant(text)
        peer_id = addresses[0].peer_id or ""
        if peer_id == self.peer_id:
            raise InvalidRequest("This invite code is this node's own: use it on another one.")
        self._discovery.heard(addresses, "invite")
        await self.dial(peer_id)
        await self.introduced(peer_id)
        return peer_id

    async def dial(self, peer_id: str) -> None:
        """Connects to a peer of the address book. Raises NetworkError."""
        await self._discovery.dial(peer_id)

    async def introduced(self, peer_id: str) -> None:
        """Returns once the peer is connected, has said hello and keys are agreed. Raises NetworkError."""
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                known = await self._roster.arrival(peer_id)
                await known.control.ready.wait()
        except TimeoutError:
            raise NetworkError(f"The node {peer_id} answers, but does not speak this protocol.") from None

    async def disconnect(self, peer_id: str) -> None:
        """Ends the connection with a peer; it may come back."""
        await self._roster.host.disconnect(peer_id)

    async def request(
        self,
        peer_id: str,
        message: msgspec.Struct,
        answer: type[M],
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> M:
        """The peer's answer, a message of the kind `answer`; `timeout` in seconds.

        Raises the peer's error, NoAnswer, StreamClosed, NetworkError when it is not connected, BadFrame.
        """
        return expect(await self.fetch(peer_id, message, timeout=timeout), answer)

    async def fetch(
        self,
        peer_id: str,
        message: msgspec.Struct,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Frame:
        """The peer's answer as a frame, for answers that are bytes. Raises as `request`."""
        async with await self.open_stream(peer_id, message) as stream:
            return await calls.answer_of(
                stream,
                acknowledge=self._options.acknowledge_timeout,
                timeout=self._options.request_timeout if timeout is None else timeout,
            )

    async def open_stream(self, peer_id: str, opening: msgspec.Struct) -> FrameStream:
        """A long-lived stream to a peer, whose handler of `opening`'s kind gets the other end.

        Raises NetworkError when it is not connected or takes no stream.
        """
        known = self._roster.known.get(peer_id)
        if known is None:
            raise NetworkError(f"The peer {peer_id} is not connected.")
        link = await self._roster.host.open(peer_id)
        try:
            return await calls.begin(link, known.control, to_frame(opening), peer_id=peer_id)
        except BaseException:
            link.abort()
            raise

    async def publish(self, message: msgspec.Struct) -> None:
        """Gossips a declared message to the whole network, signed by this node."""
        topic, body = self._topics.encode(message)
        await self._roster.host.publish(topic, self._sealing.seal_signed(topic, body))

    async def put_record(self, key: str, data: bytes) -> None:
        """Stores up to 32 KiB in the DHT under `key`, signed; it lasts an hour. Raises BadRecord."""
        value = make_record(self._keys, _record_key(key), data, self._wall())
        await self._roster.host.put(key, value)

    async def get_record(self, key: str) -> Record | None:
        """The newest record under `key`, None when there is none that is authentic and in time."""
        value = await self._roster.host.get(key)
        if value is None:
            return None
        try:
            return read_record(_record_key(key), value, self._wall())
        except BadRecord:
            return None

    async def provide(self, name: str) -> bool:
        """Says in the DHT that this node has what `name` stands for; whether anyone took note."""
        return await self._roster.host.provide(name)

    async def providers(self, name: str) -> tuple[str, ...]:
        """Peer ids of who says to have what `name` stands for; they are entered into the address book."""
        found = await self._roster.host.providers(name)
        return tuple(peer_id for peer_id, addresses in found if self._discovery.provided(peer_id, addresses))

    async def neighbours(self, topic: str) -> int:
        """How many peers this node exchanges a topic's messages with directly."""
        return await self._roster.host.neighbours(topic)

    @property
    def gossip_dropped(self) -> int:
        """Messages dropped since the start because this node's loop fell behind. Raises NetworkError."""
        return self._roster.host.gossip_dropped

    def offend(self, peer_id: str, offence: Offence) -> None:
        """Books a peer's breach of the protocol, and bans it when it was one too many."""
        self._roster.offend(peer_id, offence)


def _record_key(key: str) -> str:
    return f"/{NAMESPACE}/{key}"
