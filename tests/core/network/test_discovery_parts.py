"""mDNS records, own addresses, the saved peers and the registry of services."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.addresses import Address
from app.core.network.book import AddressBook
from app.core.network.cache import PeerCache
from app.core.network.interfaces import advertised, lan_hosts, own_hosts
from app.core.network.keys import NodeKeys
from app.core.network.mdns import from_text, service_type, to_text
from app.core.network.messages import Hello
from app.core.network.services import Services
from app.core.storage.database import Database
from tests.support.network_nodes import Ask, Echo


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "node.db", on_rebuilt=lambda _: None) as opened:
        yield opened


PEERS = [NodeKeys(bytes([n]) * 32).peer_id for n in range(1, 30)]
PLACES = [Address("ip4", f"192.168.1.{n}", "tcp", 8810, PEERS[0]) for n in range(5)]


def test_mdns_records_carry_addresses() -> None:
    assert from_text(to_text(PLACES)) == PLACES


@given(st.binary(max_size=300))
def test_hostile_mdns_records_give_readable_addresses_or_none(record: bytes) -> None:
    for data in (record, to_text(PLACES) + record, record + to_text(PLACES)):
        assert all(address.peer_id for address in from_text(data))


def test_private_networks_announce_under_names_of_their_own() -> None:
    names = {service_type(name) for name in (None, "family", "firm")}
    assert len(names) == 3
    assert all(len(name.split(".")[0]) <= 16 for name in names)


def test_a_node_that_listens_on_all_interfaces_advertises_real_addresses() -> None:
    listening = [f"/ip4/0.0.0.0/tcp/8810/p2p/{PEERS[0]}", f"/ip4/0.0.0.0/udp/8800/quic-v1/p2p/{PEERS[0]}"]
    places = advertised(listening, ["127.0.0.1", "192.168.1.7", "8.8.8.8"])
    assert [place.host for place in places] == ["8.8.8.8"] * 2 + ["192.168.1.7"] * 2 + ["127.0.0.1"] * 2
    assert all(place.peer_id == PEERS[0] for place in places)
    assert places[0].transport == "tcp"
    assert lan_hosts(places) == ("8.8.8.8", "192.168.1.7")


def test_this_machine_has_a_loopback_address() -> None:
    assert own_hosts()[-1].startswith("127.")


async def test_the_best_peers_are_saved_and_loaded(database: Database) -> None:
    cache = PeerCache(database=database, limit=5)
    book = AddressBook(own="", uniform=lambda: 1.0)
    assert await cache.load(book, 0.0) == 0
    for number, peer in enumerate(PEERS[:10]):
        book.heard(peer, [Address("ip4", f"8.8.{number}.8", "tcp", 1)], "invite", 1.0)
        book.connected(peer, None, float(number))
    assert await cache.save(book) == 5
    assert await cache.save(book) == 5
    again = AddressBook(own="", uniform=lambda: 1.0)
    assert await cache.load(again, 100.0) == 5
    assert [entry.peer_id for entry in again.best(9)] == PEERS[9:4:-1]


async def test_a_damaged_row_is_passed_over(database: Database) -> None:
    cache = PeerCache(database=database, limit=5)
    book = AddressBook(own="", uniform=lambda: 1.0)
    await cache.load(book, 0.0)
    for addresses in ("not json", "[1]", '["/nowhere"]'):
        await database.execute("INSERT OR REPLACE INTO network_peers VALUES (?, ?, 1)", (PEERS[0], addresses))
        await cache.load(book, 0.0)
    assert len(book) == 0


async def _nothing(*_: object) -> msgspec.Struct:
    return Hello(version=1, node_id="", software="")


def test_a_kind_of_message_has_one_handler() -> None:
    services = Services()
    services.answer(Ask, _nothing)
    with pytest.raises(ValueError, match="already"):
        services.answer(Ask, _nothing)
    services.accept(Echo, _nothing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="already"):
        services.answer(Echo, _nothing)
    assert Ask in services.kinds()
