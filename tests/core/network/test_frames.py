import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.frames import (
    MAX_HEADER,
    MAX_PAYLOAD,
    PREFIX,
    BadFrame,
    Decoder,
    Frame,
    Tag,
    pack,
    parse_prefix,
)

bodies = st.binary(max_size=300)
frames = st.builds(
    lambda tag, header, payload: Frame(tag, header, b"" if tag is Tag.JSON else payload),
    st.sampled_from(Tag),
    bodies,
    bodies,
)


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 50), max_size=40))
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], cuts: list[int]) -> None:
    wire = b"".join(pack(frame) for frame in sent)
    decoder, got = Decoder(), []
    for size in [*cuts, len(wire)]:
        got += decoder.feed(wire[:size])
        wire = wire[size:]
    assert [packet.frame() for packet in got] == sent
    assert decoder.idle


@given(st.binary(max_size=400))
def test_random_bytes_give_packets_or_a_bad_frame(data: bytes) -> None:
    decoder = Decoder()
    try:
        for packet in decoder.feed(data):
            assert packet.prefix.payload <= MAX_PAYLOAD[packet.prefix.tag]
    except BadFrame:
        with pytest.raises(BadFrame):
            decoder.feed(b"")


@pytest.mark.parametrize("tag", list(Tag))
def test_each_kind_has_bounds_on_both_lengths(tag: Tag) -> None:
    parse_prefix(PREFIX.pack(tag, 0, MAX_HEADER[tag], MAX_PAYLOAD[tag]))
    with pytest.raises(BadFrame):
        parse_prefix(PREFIX.pack(tag, 0, MAX_HEADER[tag] + 1, 0))
    with pytest.raises(BadFrame):
        parse_prefix(PREFIX.pack(tag, 0, 0, MAX_PAYLOAD[tag] + 1))


def test_what_would_be_refused_is_not_sent_either() -> None:
    with pytest.raises(BadFrame):
        pack(Frame(Tag.JSON, b"{}", b"payload"))


@pytest.mark.parametrize("prefix", [(9, 0, 1, 0), (0, 2, 1, 0)])
def test_unknown_kinds_and_flags_are_refused(prefix: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadFrame):
        Decoder().feed(PREFIX.pack(*prefix))


def test_an_announced_giant_is_refused_before_its_body_comes() -> None:
    with pytest.raises(BadFrame):
        Decoder().feed(PREFIX.pack(Tag.SHARD, 0, 10, 0xFFFFFFFF))


def test_the_decoder_knows_how_much_it_waits_for() -> None:
    decoder = Decoder()
    wire = pack(Frame(Tag.SHARD, b"h", b"payload"))
    assert decoder.wanted == PREFIX.size
    decoder.feed(wire[: PREFIX.size + 3])
    assert decoder.wanted == 5
