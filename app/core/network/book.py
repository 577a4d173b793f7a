"""The address book: where peers were seen, which to try next, which to remember. Pure logic.

Bounded in peers and in addresses per peer, because most of what is in it comes from strangers. An address
that this node has itself reached outranks any that it was only told of.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, Literal

import msgspec

from app.core.network.addresses import Address, shareable
from app.core.network.backoff import Backoff

MAX_PEERS: Final = 2000
MAX_ADDRESSES: Final = 8
MAX_PER_SUBNET: Final = 20

Source = Literal["cache", "bootstrap", "invite", "mdns", "exchange", "dht", "inbound"]
_TRUSTED: Final = frozenset(("bootstrap", "invite", "mdns"))


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a peer. `addresses` are bare (without peer id), best first; times are unix seconds.

    `connected_at` is the last time a connection stood, 0 for never.
    """

    peer_id: str
    addresses: tuple[Address, ...]
    source: Source
    heard_at: float
    connected_at: float = 0.0
    backoff: Backoff = Backoff()

    def dialable(self) -> tuple[Address, ...]:
        """Its addresses, naming the peer."""
        return tuple(address.of(self.peer_id) for address in self.addresses)


class AddressBook:
    """Entries by peer id. `own` is this node's peer id, which is never entered."""

    def __init__(self, *, own: str, uniform: Callable[[], float], max_peers: int = MAX_PEERS) -> None:
        self.own = own
        self._uniform = uniform
        self._max_peers = max_peers
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, peer_id: str) -> Entry | None:
        return self._entries.get(peer_id)

    def heard(self, peer_id: str, addresses: Iterable[Address], source: Source, now: float) -> bool:
        """Enters that `peer_id` is said to be at `addresses`; True if that was news.

        Addresses that cannot be dialled are left out. What a person asked for (invite, bootstrap) or what
        is on this network (mDNS) ends a wait after failures.
        """
        usable = [address.bare() for address in addresses if address.specific]
        if peer_id == self.own or not usable:
            return False
        entry = self._entries.get(peer_id)
        if entry is None:
            if not self._room_for(usable[0], source):
                return False
            self._entries[peer_id] = Entry(
                peer_id=peer_id, addresses=_unique(usable), source=source, heard_at=now
            )
            return True
        addresses = _unique([*entry.addresses, *usable])
        if source in _TRUSTED or source == "inbound":
            addresses = _unique([*usable, *entry.addresses])
        news = set(addresses) != set(entry.addresses)
        backoff = Backoff() if source in _TRUSTED else entry.backoff
        self._replace(entry, addresses=addresses, heard_at=now, backoff=backoff)
        return news

    def connected(self, peer_id: str, address: Address | None, now: float) -> None:
        """A connection stands; `address` is where it was dialled, None when the peer came to us."""
        entry = self._entries.get(peer_id)
        if entry is None:
            if address is not None:
                self.heard(peer_id, [address], "inbound", now)
            entry = self._entries.get(peer_id)
        if entry is None:
            return
        first = [] if address is None or not address.specific else [address.bare()]
        self._replace(
            entry, addresses=_unique([*first, *entry.addresses]), connected_at=now, backoff=Backoff()
        )

    def failed(self, peer_id: str, now: float) -> None:
        """None of the peer's addresses answered. One that never did is dropped after ten attempts."""
        entry = self._entries.get(peer_id)
        if entry is None:
            return
        backoff = entry.backoff.failed(now, self._uniform)
        if backoff.failures >= 10 and not entry.connected_at and entry.source not in _TRUSTED:
            del self._entries[peer_id]
            return
        self._replace(entry, backoff=backoff)

    def forget(self, peer_id: str) -> None:
        self._entries.pop(peer_id, None)

    def candidates(self, now: float, *, excluding: Collection[str], limit: int) -> tuple[Entry, ...]:
        """Peers to try now, those that were last connected first."""
        ready = (
            entry
            for entry in self._entries.values()
            if entry.peer_id not in excluding and entry.backoff.ready(now)
        )
        return tuple(sorted(ready, key=_rank)[:limit])

    def best(self, limit: int) -> tuple[Entry, ...]:
        """The peers worth remembering over a restart."""
        return tuple(sorted(self._entries.values(), key=_rank)[:limit])

    def sample(self, reader: str, reader_at: Address | None, *, limit: int) -> tuple[Entry, ...]:
        """Peers to tell `reader` of: ones this node has really met, with the addresses of use to it."""
        told: list[Entry] = []
        for entry in sorted(self._entries.values(), key=_rank):
            if len(told) == limit:
                break
            useful = tuple(address for address in entry.addresses if shareable(address, reader_at))
            if entry.peer_id != reader and entry.connected_at and useful:
                told.append(msgspec.structs.replace(entry, addresses=useful))
        return tuple(told)

    def _replace(self, entry: Entry, **changes: object) -> None:
        self._entries[entry.peer_id] = msgspec.structs.replace(entry, **changes)

    def _room_for(self, address: Address, source: Source) -> bool:
        if source not in _TRUSTED:
            subnet = address.subnet
            near = sum(1 for entry in self._entries.values() if entry.addresses[0].subnet == subnet)
            if near >= MAX_PER_SUBNET:
                return False
        if len(self._entries) < self._max_peers:
            return True
        worst = max(self._entries.values(), key=_rank)
        if worst.connected_at and source not in _TRUSTED:
            return False
        del self._entries[worst.peer_id]
        return True


def _rank(entry: Entry) -> tuple[float, int, float]:
    return (-entry.connected_at, entry.backoff.failures, -entry.heard_at)


def _unique(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES]
