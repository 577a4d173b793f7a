"""Peer exchange: on each connection both sides tell each other of up to twenty peers."""

from typing import Final

import msgspec

from app.core.network.addresses import Address, BadAddress, parse_address
from app.core.network.book import MAX_ADDRESSES, AddressBook
from app.core.network.keys import BadKey, public_of

MAX_TOLD: Final = 20


class ToldPeer(msgspec.Struct, frozen=True, array_like=True):
    """A peer id and its addresses as text."""

    peer_id: str
    addresses: tuple[str, ...]


def tell(book: AddressBook, reader: str, reader_at: Address | None) -> tuple[ToldPeer, ...]:
    """What to tell `reader`, who is connected from `reader_at`."""
    return tuple(
        ToldPeer(entry.peer_id, tuple(str(address) for address in entry.addresses))
        for entry in book.sample(reader, reader_at, limit=MAX_TOLD)
    )


def learn(book: AddressBook, told: tuple[ToldPeer, ...], now: float) -> int:
    """Enters what a peer told; returns how many peers were news.

    What is over the bounds is ignored, and so is an address that cannot be read: a newer version may know
    kinds that this one does not.
    """
    return sum(
        book.heard(peer.peer_id, _read(peer), "exchange", now) for peer in told[:MAX_TOLD] if _named(peer)
    )


def _named(peer: ToldPeer) -> bool:
    try:
        public_of(peer.peer_id)
    except BadKey:
        return False
    return True


def _read(peer: ToldPeer) -> list[Address]:
    addresses = []
    for text in peer.addresses[:MAX_ADDRESSES]:
        try:
            address = parse_address(text)
        except BadAddress:
            continue
        if address.peer_id in (None, peer.peer_id):
            addresses.append(address)
    return addresses
