"""The index of stored states: it always finds the longest usable prefix and never exceeds its bound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.core.engine.worker.prefix import BLOCK, PrefixIndex, block_keys, common_length

lengths = st.integers(1, 5 * BLOCK)


@st.composite
def token_arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays that often share prefixes: a base sequence, cut and changed somewhere."""
    length = draw(lengths)
    tokens = np.arange(length, dtype=np.int32)
    if draw(st.booleans()):
        tokens[draw(st.integers(0, length - 1)) :] += draw(st.integers(1, 2)) * 1000
    return tokens


@given(token_arrays(), token_arrays())
def test_keys_are_equal_exactly_as_long_as_whole_blocks_are(a: np.ndarray, b: np.ndarray) -> None:
    same = sum(x == y for x, y in zip(block_keys(a), block_keys(b), strict=False))
    assert same == common_length(a, b) // BLOCK


@given(st.lists(token_arrays(), max_size=8), token_arrays())
def test_the_longest_common_prefix_of_all_states_is_found(
    stored: list[np.ndarray], prompt: np.ndarray
) -> None:
    index: PrefixIndex[int] = PrefixIndex(limit=1 << 30, exact=True)
    for number, tokens in enumerate(stored):
        index.add(tokens, number, 1)
    usable = [
        min(common_length(tokens, prompt), len(prompt) - 1) for tokens in stored if len(tokens) >= BLOCK
    ]
    best = max((length for length in usable if length >= BLOCK), default=0)
    match = index.find(prompt)
    assert (match.keep if match else 0) == best
    if match:
        assert common_length(match.entry.tokens, prompt) >= match.keep


@given(st.lists(token_arrays(), max_size=8), token_arrays())
def test_states_that_cannot_be_cut_serve_only_as_a_whole(
    stored: list[np.ndarray], prompt: np.ndarray
) -> None:
    index: PrefixIndex[int] = PrefixIndex(limit=1 << 30, exact=False)
    for number, tokens in enumerate(stored):
        index.add(tokens, number, 1)
    whole = [
        len(tokens)
        for tokens in stored
        if BLOCK <= common_length(tokens, prompt) == len(tokens) < len(prompt)
    ]
    match = index.find(prompt)
    assert (match.keep if match else 0) == max(whole, default=0)


@given(st.lists(st.tuples(token_arrays(), st.integers(1, 50)), max_size=20), st.booleans())
def test_the_bound_holds_and_the_bytes_add_up(entries: list[tuple[np.ndarray, int]], exact: bool) -> None:
    index: PrefixIndex[int] = PrefixIndex(limit=100, exact=exact)
    for tokens, size in entries:
        index.add(tokens, 0, size)
        assert index.bytes <= 100
        assert index.bytes >= len(index)
    for tokens, _ in entries:
        if match := index.find(np.append(tokens, -1).astype(np.int32)):
            index.remove(match.entry)
    assert index.bytes >= 0


def _tokens(start: int, length: int = BLOCK) -> np.ndarray:
    return np.arange(start, start + length, dtype=np.int32)


def test_the_least_recently_used_state_makes_room() -> None:
    index: PrefixIndex[str] = PrefixIndex(limit=2, exact=True)
    index.add(_tokens(0), "a", 1)
    index.add(_tokens(100), "b", 1)
    assert index.find(_tokens(0, BLOCK + 1)).entry.state == "a"
    index.add(_tokens(200), "c", 1)
    assert index.find(_tokens(0, BLOCK + 1)) is not None
    assert index.find(_tokens(100, BLOCK + 1)) is None


def test_a_state_that_extends_another_replaces_it() -> None:
    index: PrefixIndex[str] = PrefixIndex(limit=100, exact=True)
    index.add(_tokens(0, 100), "short", 1)
    index.add(_tokens(0, 200), "long", 2)
    assert len(index) == 1
    assert index.bytes == 2
    assert index.covers(_tokens(0, 150))


def test_small_and_oversized_states_are_not_stored() -> None:
    index: PrefixIndex[str] = PrefixIndex(limit=10, exact=True)
    assert not index.add(_tokens(0, BLOCK - 1), "small", 1)
    assert not index.add(_tokens(0), "large", 11)
    assert len(index) == 0
