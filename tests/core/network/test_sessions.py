import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.network.frames import Decoder, Frame, Tag
from app.core.network.keys import NodeKeys
from app.core.network.sessions import (
    GRACE_SECONDS,
    MAX_EPOCH_STEP,
    PENDING_SECONDS,
    REKEY_SECONDS,
    KeyAnswer,
    KeyConfirm,
    KeyOffer,
    Misattributed,
    NoSession,
    Session,
    Undecryptable,
)

LOW, HIGH = sorted((NodeKeys(bytes(32)), NodeKeys(b"\1" * 32)), key=lambda node: node.public)


class Pair:
    """Two ends of a session and a clock both read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.low = Session(keys=LOW, peer=HIGH.public, clock=lambda: self.now, random=os.urandom)
        self.high = Session(keys=HIGH, peer=LOW.public, clock=lambda: self.now, random=os.urandom)

    def agree(self) -> None:
        answer = self.high.receive(self.low.offer())
        assert isinstance(answer, KeyAnswer)
        confirm = self.low.receive(answer)
        assert isinstance(confirm, KeyConfirm)
        assert self.high.receive(confirm) is None


@pytest.fixture
def pair() -> Pair:
    ready = Pair()
    ready.agree()
    return ready


def test_after_offer_answer_confirm_both_sides_read_each_other(pair: Pair) -> None:
    assert pair.high.open(pair.low.seal(b"ping", b"aad"), b"aad") == b"ping"
    assert pair.low.open(pair.high.seal(b"pong", b"aad"), b"aad") == b"pong"


def test_nothing_can_be_sealed_before_keys_are_agreed() -> None:
    with pytest.raises(NoSession):
        Pair().low.seal(b"x", b"")


def test_a_message_is_read_once(pair: Pair) -> None:
    sealed = pair.low.seal(b"pay 5", b"")
    pair.high.open(sealed, b"")
    with pytest.raises(Undecryptable):
        pair.high.open(sealed, b"")


def test_a_forged_message_changes_nothing(pair: Pair) -> None:
    sealed = pair.low.seal(b"real", b"")
    forged = sealed[:4] + (1 << 40).to_bytes(8, "big") + sealed[12:]
    with pytest.raises(Undecryptable):
        pair.high.open(forged, b"")
    with pytest.raises(Undecryptable):
        pair.high.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), b"")
    assert pair.high.open(sealed, b"") == b"real"


def test_the_frame_around_is_authenticated_too(pair: Pair) -> None:
    with pytest.raises(Undecryptable):
        pair.high.open(pair.low.seal(b"x", b"tensor"), b"shard")


@given(st.permutations(range(40)))
@settings(max_examples=25, deadline=None)
def test_messages_may_arrive_in_any_order(order: list[int]) -> None:
    pair = Pair()
    pair.agree()
    sealed = [pair.low.seal(bytes([number]), b"") for number in range(40)]
    assert [pair.high.open(sealed[number], b"")[0] for number in order] == order


def test_keys_are_renewed_after_ten_minutes_and_the_old_ones_forgotten(pair: Pair) -> None:
    late = pair.low.seal(b"late", b"")
    too_late = pair.low.seal(b"too late", b"")
    pair.now += REKEY_SECONDS - 1
    assert not pair.low.due()
    pair.now += 1
    assert pair.low.due()
    assert not pair.high.due()
    pair.agree()
    assert pair.high.open(late, b"") == b"late"
    pair.now += GRACE_SECONDS
    with pytest.raises(Undecryptable):
        pair.high.open(too_late, b"")
    assert pair.high.open(pair.low.seal(b"new", b""), b"") == b"new"


def test_the_other_side_renews_when_the_first_does_not(pair: Pair) -> None:
    pair.now += REKEY_SECONDS + 30
    assert pair.high.due()


def test_an_unanswered_offer_is_forgotten_after_a_minute() -> None:
    pair = Pair()
    answer = pair.high.receive(pair.low.offer())
    assert isinstance(answer, KeyAnswer)
    pair.now += PENDING_SECONDS
    with pytest.raises(Undecryptable):
        pair.low.receive(answer)
    assert pair.low.due()
    pair.agree()


def test_the_answering_side_keeps_the_old_keys_until_the_new_ones_are_confirmed(pair: Pair) -> None:
    answer = pair.high.receive(pair.low.offer())
    before = pair.high.seal(b"still old", b"")
    assert isinstance(answer, KeyAnswer)
    assert pair.low.open(before, b"") == b"still old"
    confirm = pair.low.receive(answer)
    assert isinstance(confirm, KeyConfirm)
    pair.high.receive(confirm)
    assert pair.low.open(pair.high.seal(b"new", b""), b"") == b"new"


def test_two_offers_that_cross_end_in_one_set_of_keys() -> None:
    pair = Pair()
    from_low, from_high = pair.low.offer(), pair.high.offer()
    assert pair.low.receive(from_high) is None
    answer = pair.high.receive(from_low)
    assert isinstance(answer, KeyAnswer)
    confirm = pair.low.receive(answer)
    assert isinstance(confirm, KeyConfirm)
    pair.high.receive(confirm)
    assert pair.high.open(pair.low.seal(b"a", b""), b"") == b"a"
    assert pair.low.open(pair.high.seal(b"b", b""), b"") == b"b"


def test_a_claimed_sender_other_than_the_authenticated_one_is_refused() -> None:
    pair = Pair()
    with pytest.raises(Misattributed):
        pair.high.receive(KeyOffer(node_id=HIGH.node_id, epoch=1, ephemeral=bytes(32)))


@pytest.mark.parametrize("epoch", [0, -1, MAX_EPOCH_STEP + 1, 1 << 60])
def test_an_offer_cannot_use_up_the_epochs(epoch: int) -> None:
    with pytest.raises(Undecryptable):
        Pair().high.receive(KeyOffer(node_id=LOW.node_id, epoch=epoch, ephemeral=b"\7" * 32))


@pytest.mark.parametrize("ephemeral", [b"", bytes(32), b"\1" + bytes(31), bytes(40)])
def test_degenerate_ephemeral_keys_are_refused(ephemeral: bytes) -> None:
    pair = Pair()
    with pytest.raises(Undecryptable):
        pair.high.receive(KeyOffer(node_id=LOW.node_id, epoch=1, ephemeral=ephemeral))
    pair.agree()


@given(st.binary(max_size=80))
def test_random_bytes_never_open(data: bytes) -> None:
    pair = Pair()
    pair.agree()
    with pytest.raises(Undecryptable):
        pair.high.open(data, b"")


def test_a_frame_goes_through_sealed(pair: Pair) -> None:
    frame = Frame(Tag.TENSOR, b"header", b"hidden state")
    wire = pair.low.seal_frame(frame)
    assert b"hidden" not in wire
    (packet,) = Decoder().feed(wire)
    assert pair.high.open_packet(packet) == frame
