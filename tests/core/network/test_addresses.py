import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.addresses import MAX_TEXT, Address, BadAddress, Scope, parse_address, shareable
from app.core.network.keys import NodeKeys

PEER, RELAY = NodeKeys(bytes(32)).peer_id, NodeKeys(b"\1" * 32).peer_id


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/203.0.113.50/tcp/8810",
        f"/ip4/203.0.113.50/udp/8800/quic-v1/p2p/{PEER}",
        f"/ip6/2001:db8::1/tcp/1/p2p/{PEER}",
        f"/dns4/node.example.org/tcp/8810/p2p/{PEER}",
        f"/ip4/203.0.113.50/tcp/8810/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
    ],
)
def test_addresses_are_read_and_written_alike(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "203.0.113.50:8810",
        "/ip4/203.0.113.50",
        "/ip4/999.0.0.1/tcp/1",
        "/ip4/::1/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/\u0661",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/1/ws",
        "/ip4/1.2.3.4/tcp/1/p2p/Qmfoo",
        "/unix/tmp/tcp/1",
        "/dns/-bad-/tcp/1",
        "/dns/" + "a" * MAX_TEXT + "/tcp/1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


@given(st.text(alphabet="/ip46dnstcudqv1.:0a%-\n", max_size=60))
def test_whatever_is_read_can_be_read_again(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LINK),
        ("192.168.1.4", Scope.PRIVATE),
        ("100.64.0.5", Scope.PRIVATE),
        ("8.8.8.8", Scope.PUBLIC),
    ],
)
def test_scopes(host: str, scope: Scope) -> None:
    assert Address("ip4", host, "tcp", 1).scope is scope


def test_near_addresses_stay_near() -> None:
    loopback, private = Address("ip4", "127.0.0.1", "tcp", 1), Address("ip4", "10.0.0.1", "tcp", 1)
    public = Address("ip4", "8.8.8.8", "tcp", 1)
    assert shareable(loopback, loopback)
    assert not shareable(loopback, private)
    assert shareable(private, private)
    assert not shareable(private, public)
    assert not shareable(private, None)
    assert shareable(public, public)


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "255.255.255.255"])
def test_unspecific_addresses_are_not_shared(host: str) -> None:
    assert not shareable(Address("ip4", host, "tcp", 1), None)


def test_neighbours_share_a_subnet() -> None:
    assert Address("ip4", "8.8.8.1", "tcp", 1).subnet == Address("ip4", "8.8.8.200", "tcp", 2).subnet
    assert Address("ip4", "8.8.8.1", "tcp", 1).subnet != Address("ip4", "8.8.9.1", "tcp", 1).subnet
