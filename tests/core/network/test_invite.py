import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.kernel.errors import InvalidRequest
from app.core.network.addresses import Address
from app.core.network.invite import MAX_ADDRESSES, invite_svg, make_invite, read_invite
from app.core.network.keys import NodeKeys

PEER = NodeKeys(bytes(32)).peer_id
HOME = Address("ip4", "192.0.2.7", "tcp", 8810, PEER)


def test_a_code_gives_back_its_addresses() -> None:
    away = Address("ip6", "2001:db8::7", "quic-v1", 8800, PEER)
    code = make_invite([HOME, away], random=os.urandom)
    assert code.startswith("swarm://")
    assert "192.0.2.7" not in code
    assert read_invite(f"  {code}\n") == (HOME, away)


def test_a_code_holds_at_most_eight_addresses() -> None:
    many = [Address("ip4", f"192.0.2.{n}", "tcp", 8810, PEER) for n in range(20)]
    assert len(read_invite(make_invite(many, random=os.urandom))) == MAX_ADDRESSES


@pytest.mark.parametrize("addresses", [[], [HOME.bare()]])
def test_a_code_without_a_named_peer_is_not_made(addresses: list[Address]) -> None:
    with pytest.raises(InvalidRequest):
        make_invite(addresses, random=os.urandom)


@given(st.text(max_size=200))
def test_other_text_is_refused_with_a_sentence(text: str) -> None:
    for code in (text, "swarm://" + text):
        with pytest.raises(InvalidRequest):
            read_invite(code)


@given(st.integers(min_value=0), st.integers(1, 127))
def test_a_damaged_code_is_noticed(place: int, change: int) -> None:
    code = make_invite([HOME], random=lambda size: bytes(range(size)))
    at = 8 + place % (len(code) - 10)
    damaged = code[:at] + chr(ord(code[at]) ^ change) + code[at + 1 :]
    with pytest.raises(InvalidRequest):
        read_invite(damaged)


def test_a_code_is_drawn_as_a_qr_code() -> None:
    code = make_invite([HOME], random=os.urandom)
    assert invite_svg(code).startswith("<svg")
