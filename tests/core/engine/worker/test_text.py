"""Text out of tokens that cut characters and stop sequences anywhere."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.core.engine.worker.text import TextStream

texts = st.text(alphabet="abcé€😀 ", max_size=40)
words = texts.filter(bool)


def cut(raw: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(raw), *(c % (len(raw) + 1) for c in cuts)})
    return [raw[a:b] for a, b in pairwise(borders)]


def run(pieces: list[bytes], stops: tuple[str, ...]) -> tuple[str, list[int], str | None, list[str]]:
    stream: TextStream[int] = TextStream(stops)
    text, tokens, shown = "", [], []
    for number, piece in enumerate(pieces):
        emitted = stream.feed(piece, number)
        if emitted is not None:
            text += emitted.text
            tokens += emitted.tokens
            shown.append(emitted.text)
            if emitted.stop is not None:
                return text, tokens, emitted.stop, shown
    rest = stream.finish()
    return text + rest.text, tokens + list(rest.tokens), None, [*shown, rest.text]


@given(texts, st.lists(st.integers(0, 200), max_size=12))
def test_text_and_tokens_arrive_whole_and_in_order_however_they_are_cut(text: str, cuts: list[int]) -> None:
    pieces = cut(text.encode(), cuts)
    got, tokens, stop, shown = run(pieces, ())
    assert got == text
    assert tokens == list(range(len(pieces)))
    assert stop is None
    assert "\ufffd" not in "".join(shown)


@given(
    texts, st.lists(texts.filter(bool), min_size=1, max_size=3), st.lists(st.integers(0, 200), max_size=12)
)
def test_stops_cut_the_text_at_the_same_place_however_tokens_cut_it(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    whole = run(cut(text.encode(), []), tuple(stops))
    pieces = run(cut(text.encode(), cuts), tuple(stops))
    assert pieces[0] == whole[0]
    assert pieces[2] == whole[2]
    assert not any(stop in pieces[0] for stop in stops)
    if pieces[2] is None:
        assert pieces[0] == text
    else:
        assert text.startswith(pieces[0] + pieces[2])


@given(texts, st.lists(words, min_size=1, max_size=2))
def test_nothing_that_may_yet_become_a_stop_is_shown(text: str, stops: list[str]) -> None:
    got, _, stop, shown = run([char.encode() for char in text], tuple(stops))
    shown_so_far = ""
    for part in shown:
        shown_so_far += part
        assert got.startswith(shown_so_far)
    assert stop is None or stop in stops


def test_a_stop_takes_only_the_tokens_before_it() -> None:
    stream: TextStream[str] = TextStream(["END"])
    assert stream.feed(b"one ", "a").tokens == ("a",)
    assert stream.feed(b"E", "b") is None
    emitted = stream.feed(b"ND", "c")
    assert (emitted.text, emitted.tokens, emitted.stop) == ("", (), "END")


def test_a_token_that_holds_both_text_and_stop_is_kept() -> None:
    emitted = TextStream(["."]).feed(b" end. More", "a")
    assert (emitted.text, emitted.tokens, emitted.stop) == (" end", ("a",), ".")


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    stream: TextStream[int] = TextStream()
    assert stream.feed(b"\xff", 0).text == "\ufffd"
    assert stream.feed(b"\xe2\x82", 1) is None
    assert stream.finish().text == "\ufffd"


def test_a_token_without_text_comes_with_the_next_text() -> None:
    stream: TextStream[int] = TextStream()
    assert stream.feed(b"", 0) is None
    assert stream.feed(b"a", 1).tokens == (0, 1)
