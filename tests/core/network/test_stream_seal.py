import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.network.frames import BadFrame, Decoder, Frame, Packet, Tag
from app.core.network.stream_seal import RATCHET_SECONDS, StreamSeal, Undecryptable
from tests.core.network.test_sessions import Pair


class Stream:
    """Both ends of a sealed stream."""

    def __init__(self) -> None:
        self.now = 0.0
        self.here = StreamSeal(secret=b"s" * 32, opened_here=True, clock=lambda: self.now)
        self.there = StreamSeal(secret=b"s" * 32, opened_here=False, clock=lambda: self.now)


def frame(text: bytes) -> Frame:
    return Frame(Tag.TENSOR, b"header", text)


def packet(wire: bytes) -> Packet:
    (only,) = Decoder().feed(wire)
    return only


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=50), st.floats(0, 400)), max_size=20))
@settings(max_examples=30, deadline=None)
def test_both_directions_carry_frames_over_any_time(steps: list[tuple[bool, bytes, float]]) -> None:
    stream = Stream()
    for from_here, text, wait in steps:
        sender, receiver = (stream.here, stream.there) if from_here else (stream.there, stream.here)
        stream.now += wait
        assert receiver.open_packet(packet(sender.seal_frame(frame(text)))) == frame(text)


def test_frames_are_taken_in_order_and_once() -> None:
    stream = Stream()
    first, second = (packet(stream.here.seal_frame(frame(text))) for text in (b"1", b"2"))
    with pytest.raises(Undecryptable):
        stream.there.open_packet(second)
    stream.there.open_packet(first)
    with pytest.raises(Undecryptable):
        stream.there.open_packet(first)
    assert stream.there.open_packet(second) == frame(b"2")


def test_a_forged_frame_changes_nothing() -> None:
    stream = Stream()
    real = packet(stream.here.seal_frame(frame(b"real")))
    forged = Packet(real.prefix, real.body[:-1] + bytes([real.body[-1] ^ 1]))
    with pytest.raises(Undecryptable):
        stream.there.open_packet(forged)
    with pytest.raises(Undecryptable):
        stream.there.open_packet(Packet(real.prefix, b"short"))
    assert stream.there.open_packet(real) == frame(b"real")


def test_a_stream_does_not_read_its_own_frames() -> None:
    stream = Stream()
    with pytest.raises(Undecryptable):
        stream.here.open_packet(packet(stream.here.seal_frame(frame(b"x"))))


def test_keys_are_replaced_every_ten_minutes() -> None:
    stream = Stream()
    old = stream.here.seal_frame(frame(b"x"))
    stream.now += RATCHET_SECONDS
    new = stream.here.seal_frame(frame(b"x"))
    assert (old[10:14], new[10:14]) == (bytes(4), b"\0\0\0\1")
    stream.there.open_packet(packet(old))
    stream.there.open_packet(packet(new))
    with pytest.raises(Undecryptable):
        stream.there.open_packet(packet(old))


def test_a_sessions_streams_have_keys_of_their_own() -> None:
    pair = Pair()
    pair.agree()
    first, second = pair.low.seal(b"", b""), pair.low.seal(b"", b"")
    ours = pair.low.stream(first, opened_here=True)
    theirs, other = (pair.high.stream(opening, opened_here=False) for opening in (first, second))
    sealed = packet(ours.seal_frame(frame(b"x")))
    with pytest.raises(Undecryptable):
        other.open_packet(sealed)
    assert theirs.open_packet(sealed) == frame(b"x")


def test_oversized_frames_are_not_sealed() -> None:
    with pytest.raises(BadFrame):
        Stream().here.seal_frame(Frame(Tag.JSON, b"{}", b"payload"))
