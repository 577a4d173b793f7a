"""Whom this node knows of, and keeps trying to reach."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from app.core.kernel.errors import InvalidRequest, NetworkError
from app.core.network import exchange
from app.core.network.addresses import Address, BadAddress, parse_address
from app.core.network.book import AddressBook, Source
from app.core.network.cache import PeerCache
from app.core.network.conduct import Conduct
from app.core.network.invite import SCHEME, read_invite
from app.core.network.keys import BadKey, public_of
from app.core.network.options import NetworkOptions
from app.core.network.tasks import Tasks

log: Final = logging.getLogger(__name__)
DIAL_TICK: Final = 0.5
DIALS_AT_ONCE: Final = 8


class Discovery:
    """The address book, and the two tasks that dial from it and save it.

    `wall` is unix time: what the book holds outlives the process.
    """

    def __init__(
        self,
        *,
        book: AddressBook,
        cache: PeerCache | None,
        conduct: Conduct,
        options: NetworkOptions,
        tasks: Tasks,
        wall: Callable[[], float],
    ) -> None:
        self.book = book
        self._cache = cache
        self._conduct = conduct
        self._options = options
        self._tasks = tasks
        self._wall = wall
        self._dialling: set[str] = set()
        self._dial: Callable[[str, tuple[str, ...]], Awaitable[str]] | None = None

    async def load(self) -> None:
        """Enters the saved peers and the configured ones."""
        if self._cache is not None:
            await self._cache.load(self.book, self._wall())
        if self._options.offline_mode:
            return
        for text in self._options.bootstrap_peers:
            try:
                self.heard(meant(text), "bootstrap")
            except InvalidRequest as error:
                # Codes are not logged: whoever has one can read the addresses in it.
                shown = SCHEME if text.startswith(SCHEME) else text[:200]
                log.warning("The bootstrap peer %s is left out. %s", shown, error.message)

    async def save(self) -> None:
        if self._cache is not None:
            await self._cache.save(self.book)

    def start(
        self,
        *,
        dial: Callable[[str, tuple[str, ...]], Awaitable[str]],
        refresh: Callable[[], Awaitable[None]],
        connected: Callable[[], Collection[str]],
    ) -> None:
        """Starts to dial, to save and to look for more in the DHT.

        `dial` returns the address that answered, "" if it was connected.
        """
        self._dial = dial
        self._tasks.spawn(self._keep_dialling(connected), "dial")
        self._tasks.spawn(self._keep_refreshing(refresh), "refresh the DHT")
        if self._cache is not None:
            self._tasks.spawn(self._keep_saving(), "save peers")

    def heard(self, addresses: list[Address], source: Source) -> None:
        """Enters addresses that all name the same peer."""
        self.book.heard(addresses[0].peer_id or "", addresses, source, self._wall())

    def on_lan(self, addresses: list[Address]) -> None:
        """Enters what mDNS found."""
        self.heard(addresses, "mdns")

    def told(self, peers: tuple[exchange.ToldPeer, ...]) -> None:
        """Enters what a peer told, unless that is switched off."""
        if self._options.peer_exchange and not self._options.offline_mode:
            exchange.learn(self.book, peers, self._wall())

    def provided(self, peer_id: str, addresses: tuple[str, ...]) -> bool:
        """Enters a provider that the DHT named; False when it is no node of ours or this one itself."""
        try:
            public_of(peer_id)
        except BadKey:
            return False
        if peer_id == self.book.own:
            return False
        places = [address for text in addresses[:8] if (address := address_or_none(text)) is not None]
        self.book.heard(peer_id, places, "dht", self._wall())
        return True

    async def dial(self, peer_id: str) -> None:
        """Connects to a peer of the book. Raises NetworkError."""
        entry = self.book.find(peer_id)
        if entry is None:
            raise NetworkError(f"No address of the peer {peer_id} is known.")
        if self._conduct.banned(peer_id):
            raise NetworkError(f"The peer {peer_id} is banned for breaking the protocol.")
        if self._dial is None:
            raise NetworkError("The network is not running.")
        self._dialling.add(peer_id)
        try:
            reached = await self._dial(peer_id, tuple(str(address) for address in entry.dialable()))
        except NetworkError:
            self.book.failed(peer_id, self._wall())
            raise
        finally:
            self._dialling.discard(peer_id)
        if reached:
            self.book.connected(peer_id, parse_address(reached), self._wall())

    async def _keep_dialling(self, connected: Callable[[], Collection[str]]) -> None:
        while True:
            busy = {*connected(), *self._dialling}
            room = min(self._options.dial_peers - len(busy), DIALS_AT_ONCE - len(self._dialling))
            for entry in self.book.candidates(self._wall(), excluding=busy, limit=max(0, room)):
                if not self._conduct.banned(entry.peer_id):
                    self._dialling.add(entry.peer_id)
                    self._tasks.spawn(self._try(entry.peer_id), "dial one")
            await asyncio.sleep(DIAL_TICK)

    async def _try(self, peer_id: str) -> None:
        try:
            await self.dial(peer_id)
        except NetworkError as error:
            log.debug("%s", error)
        finally:
            self._dialling.discard(peer_id)

    async def _keep_refreshing(self, refresh: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._options.bootstrap_interval)
            try:
                await refresh()
            except NetworkError as error:
                log.debug("%s", error)

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(self._options.cache_interval)
            await self.save()


def meant(text: str) -> list[Address]:
    """The addresses of one peer that an invite code or a multiaddr gives. Raises InvalidRequest."""
    text = text.strip()
    if not text.startswith(SCHEME):
        return [_named(text)]
    addresses = read_invite(text)
    return [place for place in addresses if place.peer_id == addresses[0].peer_id]


def _named(text: str) -> Address:
    try:
        address = parse_address(text)
    except BadAddress as error:
        raise InvalidRequest(f"This is neither an invite code nor an address. {error}") from None
    if address.peer_id is None:
        raise InvalidRequest("The address names no peer: it must end in /p2p/ and the peer's id.")
    return address


def address_or_none(text: str) -> Address | None:
    """The address that `text` spells, if it is one."""
    try:
        return parse_address(text)
    except BadAddress:
        return None
