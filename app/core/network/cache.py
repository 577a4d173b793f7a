"""The address book over restarts: the best peers, in the node's database."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from app.core.network.addresses import Address, BadAddress, parse_address
from app.core.network.book import AddressBook

TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS network_peers ("
    "peer_id TEXT PRIMARY KEY, addresses TEXT NOT NULL, connected_at REAL NOT NULL)"
)


class Database(Protocol):
    """What is needed of storage.Database."""

    async def execute(self, sql: str, params: Sequence[Any] = (), /) -> Any: ...

    async def fetch(self, sql: str, params: Sequence[Any] = (), /) -> list[tuple[Any, ...]]: ...

    async def transaction(self, statements: Sequence[tuple[str, Sequence[Any]]], /) -> Any: ...


class PeerCache:
    """Saves up to `limit` peers and enters them again after a restart."""

    def __init__(self, *, database: Database, limit: int) -> None:
        self._database = database
        self._limit = limit

    async def load(self, book: AddressBook, now: float) -> int:
        """Enters what was saved; returns how many peers. Rows that cannot be read are passed over."""
        await self._database.execute(TABLE)
        rows = await self._database.fetch(
            "SELECT peer_id, addresses, connected_at FROM network_peers ORDER BY connected_at DESC LIMIT ?",
            (self._limit,),
        )
        for peer_id, addresses, connected_at in rows:
            book.heard(peer_id, _read(addresses), "cache", now)
            if connected_at:
                book.connected(peer_id, None, connected_at)
        return len(rows)

    async def save(self, book: AddressBook) -> int:
        """Replaces what was saved by the best of `book`; returns how many peers."""
        entries = book.best(self._limit)
        await self._database.transaction(
            [
                ("DELETE FROM network_peers", ()),
                *(
                    (
                        "INSERT INTO network_peers (peer_id, addresses, connected_at) VALUES (?, ?, ?)",
                        (entry.peer_id, _write(entry.addresses), entry.connected_at),
                    )
                    for entry in entries
                ),
            ]
        )
        return len(entries)


def _write(addresses: Sequence[Address]) -> str:
    return msgspec.json.encode([str(address) for address in addresses]).decode()


def _read(text: str) -> list[Address]:
    try:
        return [parse_address(item) for item in msgspec.json.decode(text, type=list[str])]
    except (msgspec.DecodeError, BadAddress):
        return []
