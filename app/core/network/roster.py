"""The peers that are connected, and what comes in from them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from app.core.kernel.errors import NetworkError
from app.core.kernel.events import EventBus
from app.core.network import calls, events, exchange
from app.core.network.addresses import Address, shareable
from app.core.network.conduct import Conduct, Offence
from app.core.network.control import Control
from app.core.network.discovery import Discovery, address_or_none
from app.core.network.frame_stream import FrameStream
from app.core.network.frames import BadFrame
from app.core.network.host.host import Host
from app.core.network.host.link import Link
from app.core.network.host.reports import (
    BadBytes,
    Down,
    Flooded,
    Gossiped,
    GossipRefused,
    Incoming,
    Report,
    Up,
)
from app.core.network.keys import NodeKeys, node_id_of, public_of
from app.core.network.messages import VERSION, Hello, UnknownKind
from app.core.network.options import NetworkOptions
from app.core.network.seal import Reason
from app.core.network.services import Services
from app.core.network.sessions import Misattributed, Session
from app.core.network.stream_seal import Undecryptable
from app.core.network.tasks import Tasks
from app.core.network.topics import Topics

log: Final = logging.getLogger(__name__)


class Known:
    """A peer with a connection."""

    def __init__(self, *, up: Up, control: Control, since: float) -> None:
        self.up = up
        self.control = control
        self.since = since
        self.tasks: set[asyncio.Task[None]] = set()
        self.banned = False


class Roster:
    """Follows the host's reports: keeps a control stream with each peer and serves the streams they open.

    `counted` is told how many peers there are. `attach` gives it the running host.
    """

    def __init__(
        self,
        *,
        keys: NodeKeys,
        options: NetworkOptions,
        services: Services,
        topics: Topics,
        bus: EventBus,
        discovery: Discovery,
        conduct: Conduct,
        counted: Callable[[int], None],
        tasks: Tasks,
        software: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._keys = keys
        self._options = options
        self._topics = topics
        self._bus = bus
        self._discovery = discovery
        self._conduct = conduct
        self._counted = counted
        self._tasks = tasks
        self._software = software
        self._clock = clock
        self._wall = wall
        self._random = random
        self._inbound = calls.Inbound(services=services, kinds=services.kinds())
        self._awaited: dict[str, list[asyncio.Future[Known]]] = {}
        self._host: Host | None = None
        self.known: dict[str, Known] = {}
        self.addresses: tuple[Address, ...] = ()

    def attach(self, host: Host, addresses: tuple[Address, ...]) -> None:
        """From now on there is a host, and this node is to be found at `addresses`."""
        self._host = host
        self.addresses = addresses

    def detach(self) -> None:
        self._host = None

    @property
    def host(self) -> Host:
        """Raises NetworkError while there is none."""
        if self._host is None:
            raise NetworkError("The network is not running.")
        return self._host

    async def arrival(self, peer_id: str) -> Known:
        """The peer, as soon as it is connected."""
        if (known := self.known.get(peer_id)) is not None:
            return known
        future: asyncio.Future[Known] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(peer_id, []).append(future)
        try:
            return await future
        finally:
            waiting = self._awaited.get(peer_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._awaited.pop(peer_id, None)

    def offend(self, peer_id: str, offence: Offence) -> None:
        """Books a peer's breach of the protocol, and bans it when it was one too many."""
        until = self._conduct.offend(peer_id, offence)
        wall = None if until is None else self._wall() + until - self._clock()
        node_id = node_id_of(peer_id)
        self._bus.publish(
            events.PeerMisbehaved(
                peer_id=peer_id, node_id=node_id, offence=offence.name.lower(), banned_until=wall
            )
        )
        known = self.known.get(peer_id)
        if until is not None and known is not None and not known.banned:
            known.banned = True
            log.warning("The peer %s is banned: %s.", peer_id, offence.name.lower())
            self._tasks.spawn(self._put_out(peer_id), "ban")

    async def _put_out(self, peer_id: str) -> None:
        with contextlib.suppress(NetworkError):
            await self.host.disconnect(peer_id)

    def on_report(self, report: Report) -> None:
        match report:
            case Up():
                self._on_up(report)
            case Down(peer_id, reason):
                self._on_down(peer_id, reason)
            case Incoming(link):
                self._on_stream(link)
            case BadBytes(peer_id):
                self.offend(peer_id, Offence.BAD_FRAME)
            case Flooded(peer_id):
                self.offend(peer_id, Offence.FLOOD)
            case Gossiped(topic, origin, body):
                self._on_gossip(topic, origin, body)
            case GossipRefused(peer_id, reason):
                self._on_refused(peer_id, Reason(reason))

    def _on_up(self, up: Up) -> None:
        control = Control(
            session=Session(
                keys=self._keys, peer=public_of(up.peer_id), clock=self._clock, random=self._random
            ),
            node_id=node_id_of(up.peer_id),
            encryption=self._options.enable_encryption,
            offend=lambda offence: self.offend(up.peer_id, offence),
            introduced=lambda hello: self._on_hello(up.peer_id, hello),
            learned=self._discovery.told,
        )
        known = self.known[up.peer_id] = Known(up=up, control=control, since=self._wall())
        for future in self._awaited.pop(up.peer_id, ()):
            if not future.done():
                future.set_result(known)
        self._counted(len(self.known))
        if self._keys.peer_id < up.peer_id:
            self._attach(known, self._open_control(known), "control")

    def _attach(self, known: Known, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._tasks.spawn(work, f"{name} {known.up.peer_id[-8:]}")
        known.tasks.add(task)
        task.add_done_callback(known.tasks.discard)

    def _on_down(self, peer_id: str, reason: str) -> None:
        known = self.known.pop(peer_id, None)
        if known is None:
            return
        self._counted(len(self.known))
        for task in tuple(known.tasks):
            task.cancel()
        if known.control.hello is not None:
            self._bus.publish(
                events.PeerLost(
                    peer_id=peer_id,
                    node_id=node_id_of(peer_id),
                    reason="banned" if known.banned else "frozen" if reason == "frozen" else "closed",
                )
            )

    async def _open_control(self, known: Known) -> None:
        peer_id = known.up.peer_id
        while self.known.get(peer_id) is known:
            try:
                link = await self.host.open(peer_id)
                await self._speak(known, FrameStream(link, peer_id=peer_id, seal=None), None)
            except NetworkError as error:
                log.debug("The control stream to %s ended: %s", peer_id, error)
            await asyncio.sleep(1.0)

    async def _speak(self, known: Known, stream: FrameStream, theirs: Hello | None) -> None:
        here = address_or_none(known.up.address)
        told = (
            exchange.tell(self._discovery.book, known.up.peer_id, here) if self._options.peer_exchange else ()
        )
        own = Hello(
            version=VERSION,
            node_id=self._keys.node_id,
            software=self._software,
            encryption=self._options.enable_encryption,
            addresses=tuple(str(place) for place in self.addresses if shareable(place, here)),
        )
        try:
            await known.control.run(stream, own=own, theirs=theirs, told=told)
        except* (BadFrame, Misattributed):
            self.offend(known.up.peer_id, Offence.BAD_MESSAGE)
        except* (NetworkError, TimeoutError) as ended:
            log.debug("The control stream with %s ended: %s", known.up.peer_id, ended.exceptions)
        finally:
            stream.abort()

    def _on_hello(self, peer_id: str, hello: Hello) -> None:
        known = self.known.get(peer_id)
        if known is None:
            return
        for text in hello.addresses[:8]:
            place = address_or_none(text)
            if place is not None and place.peer_id in (None, peer_id):
                self._discovery.book.heard(peer_id, [place], "inbound", self._wall())
        self._discovery.book.connected(peer_id, None, self._wall())
        self._attach(known, self._enter_dht(peer_id), "dht")
        self._bus.publish(
            events.PeerConnected(
                peer_id=peer_id,
                node_id=hello.node_id,
                address=known.up.address,
                direction="outbound" if known.up.outbound else "inbound",
            )
        )

    async def _enter_dht(self, peer_id: str) -> None:
        with contextlib.suppress(NetworkError):
            await self.host.met(peer_id)

    def _on_stream(self, link: Link) -> None:
        known = self.known.get(link.peer_id)
        if known is None:
            link.abort()
        else:
            self._attach(known, self._serve(known, link), "stream")

    async def _serve(self, known: Known, link: Link) -> None:
        offence: Offence | None = None
        try:
            packet, message = await self._inbound.first(link, known.control)
            if isinstance(message, Hello):
                await self._speak(known, FrameStream(link, peer_id=link.peer_id, seal=None), message)
                return
            offence = await self._inbound.serve(link, known.control, packet, message, peer_id=link.peer_id)
        except UnknownKind as error:
            await self._inbound.refuse(link, error)
        except BadFrame:
            offence = Offence.BAD_MESSAGE
        except Undecryptable:
            offence = Offence.UNDECRYPTABLE
        except (NetworkError, TimeoutError) as error:
            log.debug("A stream of %s ended: %s", link.peer_id, error)
        except asyncio.CancelledError:
            link.abort()
            raise
        if offence is not None:
            link.abort()
            self.offend(link.peer_id, offence)

    def _on_gossip(self, topic: str, origin: str, body: bytes) -> None:
        if origin == self._keys.node_id:
            return
        try:
            self._topics.deliver(topic, origin, body)
        except BadFrame as error:
            log.info("A gossip message of %s was dropped: %s", origin[:16], error)

    def _on_refused(self, peer_id: str, reason: Reason) -> None:
        if reason is Reason.FORGED:
            self.offend(peer_id, Offence.FORGED)
        elif reason is Reason.MALFORMED:
            self.offend(peer_id, Offence.MALFORMED_GOSSIP)
