from hypothesis import given
from hypothesis import strategies as st

from app.core.network.addresses import Address
from app.core.network.book import MAX_ADDRESSES, MAX_PER_SUBNET, AddressBook
from app.core.network.exchange import MAX_TOLD, ToldPeer, learn, tell
from app.core.network.keys import NodeKeys

OWN, *PEERS = [NodeKeys(bytes([n]) * 32).peer_id for n in range(60)]


def place(number: int, port: int = 8810) -> Address:
    return Address("ip4", f"8.{number % 250}.{number // 250}.1", "tcp", port)


def book(max_peers: int = 2000) -> AddressBook:
    return AddressBook(own=OWN, uniform=lambda: 1.0, max_peers=max_peers)


def test_the_node_itself_and_useless_addresses_are_not_entered() -> None:
    pages = book()
    assert not pages.heard(OWN, [place(1)], "mdns", 0.0)
    assert not pages.heard(PEERS[0], [Address("ip4", "0.0.0.0", "tcp", 1)], "exchange", 0.0)
    assert len(pages) == 0


def test_where_a_peer_was_reached_stands_first() -> None:
    pages = book()
    pages.heard(PEERS[0], [place(1), place(2)], "exchange", 0.0)
    pages.connected(PEERS[0], place(2), 1.0)
    entry = pages.find(PEERS[0])
    assert entry is not None
    assert entry.addresses == (place(2), place(1))


def test_a_peer_that_fails_waits_longer_and_is_dropped_in_the_end_if_it_never_answered() -> None:
    pages = book()
    pages.heard(PEERS[0], [place(1)], "exchange", 0.0)
    pages.failed(PEERS[0], 100.0)
    assert not pages.candidates(100.5, excluding=(), limit=9)
    assert pages.candidates(101.0, excluding=(), limit=9)
    for _ in range(9):
        pages.failed(PEERS[0], 100.0)
    assert pages.find(PEERS[0]) is None


def test_a_peer_that_once_answered_is_kept() -> None:
    pages = book()
    pages.heard(PEERS[0], [place(1)], "exchange", 0.0)
    pages.connected(PEERS[0], place(1), 1.0)
    for _ in range(50):
        pages.failed(PEERS[0], 100.0)
    assert pages.find(PEERS[0]) is not None


def test_an_invite_ends_the_wait() -> None:
    pages = book()
    pages.heard(PEERS[0], [place(1)], "exchange", 0.0)
    for _ in range(8):
        pages.failed(PEERS[0], 100.0)
    pages.heard(PEERS[0], [place(3)], "invite", 101.0)
    (entry,) = pages.candidates(101.0, excluding=(), limit=9)
    assert entry.addresses[0] == place(3)


def test_those_last_connected_are_tried_and_remembered_first() -> None:
    pages = book()
    for number in range(5):
        pages.heard(PEERS[number], [place(number)], "exchange", float(number))
    pages.connected(PEERS[3], place(3), 10.0)
    pages.connected(PEERS[1], place(1), 20.0)
    order = [entry.peer_id for entry in pages.best(3)]
    assert order == [PEERS[1], PEERS[3], PEERS[4]]
    tried = pages.candidates(30.0, excluding={PEERS[1]}, limit=1)
    assert tried[0].peer_id == PEERS[3]


def test_one_subnet_cannot_fill_the_book() -> None:
    pages = book()
    for number in range(50):
        address = Address("ip4", f"8.8.8.{number}", "tcp", 1)
        pages.heard(PEERS[number], [address], "exchange", 0.0)
    assert len(pages) == MAX_PER_SUBNET


@given(st.lists(st.tuples(st.integers(0, 49), st.integers(0, 300), st.sampled_from(["exchange", "mdns"]))))
def test_the_book_stays_within_its_bounds(rumours: list[tuple[int, int, str]]) -> None:
    pages = book(max_peers=10)
    for now, (peer, where, source) in enumerate(rumours):
        pages.heard(PEERS[peer], [place(where), place(where + 1)], source, float(now))  # type: ignore[arg-type]
    assert len(pages) <= 10
    assert all(len(entry.addresses) <= MAX_ADDRESSES for entry in pages.best(100))


def test_strangers_do_not_push_out_peers_that_were_met() -> None:
    pages = book(max_peers=3)
    for number in range(3):
        pages.heard(PEERS[number], [place(number)], "invite", 0.0)
        pages.connected(PEERS[number], place(number), 1.0)
    for number in range(3, 40):
        pages.heard(PEERS[number], [place(number)], "exchange", 2.0)
    assert {entry.peer_id for entry in pages.best(9)} == set(PEERS[:3])


def test_a_peer_is_told_of_twenty_that_were_met_and_not_of_itself() -> None:
    pages = book()
    for number, peer in enumerate(PEERS):
        pages.heard(peer, [place(number)], "exchange", 0.0)
        if number < 30:
            pages.connected(peer, place(number), float(number))
    told = tell(pages, PEERS[29], place(200))
    assert len(told) == MAX_TOLD
    assert told[0].peer_id == PEERS[28]


def test_private_addresses_are_not_told_to_the_internet() -> None:
    pages = book()
    pages.connected(PEERS[0], Address("ip4", "192.168.0.9", "tcp", 1), 1.0)
    assert tell(pages, PEERS[1], place(1)) == ()
    assert len(tell(pages, PEERS[1], Address("ip4", "192.168.0.4", "tcp", 1))) == 1


def test_what_is_told_is_learned() -> None:
    one, other = book(), book()
    for number in range(10):
        one.heard(PEERS[number], [place(number)], "mdns", 0.0)
        one.connected(PEERS[number], place(number), 1.0)
    assert learn(other, tell(one, PEERS[50], place(99)), 2.0) == 10
    assert learn(other, tell(one, PEERS[50], place(99)), 2.0) == 0


def test_lies_in_peer_exchange_are_left_out() -> None:
    pages = book()
    told = (
        ToldPeer("nobody", ("/ip4/8.8.8.8/tcp/1",)),
        ToldPeer(PEERS[0], ("garbage", f"/ip4/8.8.8.8/tcp/1/p2p/{PEERS[1]}")),
        ToldPeer(PEERS[2], ("/ip4/8.8.4.4/tcp/1",)),
        *(ToldPeer(PEERS[30], ("/ip4/1.1.1.1/tcp/1",)) for _ in range(100)),
    )
    learn(pages, told, 0.0)
    assert {entry.peer_id for entry in pages.best(9)} == {PEERS[2], PEERS[30]}
