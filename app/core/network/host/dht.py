"""Kademlia with this project's records: `/swarmllm/...` keys, signed values, providers of names.

libp2p's Kademlia dials the peers it asks; that is allowed to it alone (`may_dial`), and the gate still has
its say.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import IHost
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.records.validator import Validator
from libp2p.tools.anyio_service import background_trio_service

from app.core.network.host.swarm import may_dial
from app.core.network.records import NAMESPACE, newest, read_record

log: Final = logging.getLogger(__name__)
LOOKUP_SECONDS: Final = 20.0
IDENTIFY_SECONDS: Final = 5


class RecordValidator(Validator):
    """Takes signed records only. `wall` is unix time."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def validate(self, key: str, value: bytes) -> None:
        """Raises BadRecord."""
        read_record(key, value, self._wall())

    def select(self, key: str, values: list[bytes]) -> int:
        return newest(key, values, self._wall())


class Dht:
    """The node's part of the DHT. All in the Trio thread; each lookup ends after LOOKUP_SECONDS."""

    def __init__(self, *, host: IHost, wall: Callable[[], float]) -> None:
        self._dht = KadDHT(host, DHTMode.SERVER, strict_validation=True)
        self._dht.register_validator(NAMESPACE, RecordValidator(wall))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Takes part for as long as it is entered."""
        may_dial.set(True)
        async with background_trio_service(self._dht):
            may_dial.set(False)
            yield

    async def met(self, peer_id: str) -> bool:
        """Enters a connected peer into the routing table; whether it takes part.

        That is known once the peer has identified itself, so it is tried for a few seconds.
        """
        for _ in range(IDENTIFY_SECONDS):
            try:
                if await self._dht.add_peer(ID.from_base58(peer_id)):
                    return True
            except Exception as error:
                log.debug("The peer %s is not yet in the DHT: %r", peer_id, error)
            await trio.sleep(1.0)
        return False

    async def refresh(self) -> None:
        """Looks for nearer peers."""
        may_dial.set(True)
        with trio.move_on_after(LOOKUP_SECONDS):
            await self._dht.refresh_routing_table()

    async def put(self, key: str, value: bytes) -> None:
        may_dial.set(True)
        with trio.move_on_after(LOOKUP_SECONDS):
            await self._dht.put_value(_path(key), value)

    async def get(self, key: str) -> bytes | None:
        """The newest value that was found, None for none."""
        may_dial.set(True)
        found: list[bytes | None] = []
        with trio.move_on_after(LOOKUP_SECONDS):
            found.append(await self._dht.get_value(_path(key)))
        return found[0] if found else None

    async def provide(self, name: str) -> bool:
        """Says that this node has what `name` stands for; whether anyone took note."""
        may_dial.set(True)
        taken: list[bool] = []
        with trio.move_on_after(LOOKUP_SECONDS):
            taken.append(await self._dht.provide(_multihash(name)))
        return any(taken)

    async def providers(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Who says so: peer ids with their addresses, each peer once."""
        may_dial.set(True)
        found: dict[str, tuple[str, ...]] = {}
        with trio.move_on_after(LOOKUP_SECONDS):
            for info in await self._dht.find_providers(_multihash(name)):
                found[str(info.peer_id)] = tuple(str(address) for address in info.addrs)
        return tuple(found.items())

    @property
    def size(self) -> int:
        """How many peers are in the routing table."""
        return self._dht.get_routing_table_size()


def _path(key: str) -> str:
    return f"/{NAMESPACE}/{key}"


def _multihash(name: str) -> str:
    return "1220" + hashlib.sha256(f"/{NAMESPACE}/{name}".encode()).hexdigest()
