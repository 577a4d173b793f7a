from hypothesis import given
from hypothesis import strategies as st

from app.core.network.replay import BLOCK, BLOCKS, WINDOW, ReplayWindow

steps = st.lists(st.integers(0, 3 * BLOCK * BLOCKS), max_size=60)


@given(steps)
def test_a_counter_is_accepted_at_most_once_and_recent_new_ones_always(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set(), -1
    for counter in counters:
        expected = counter not in seen and counter + WINDOW > highest
        assert window.fresh(counter) is expected
        if expected:
            window.accept(counter)
            seen.add(counter)
            highest = max(highest, counter)
    assert not any(window.fresh(counter) for counter in seen)


def test_looking_does_not_move_the_window() -> None:
    window = ReplayWindow()
    assert window.fresh(10**9)
    assert window.fresh(0)


def test_a_jump_past_the_whole_ring_leaves_no_old_marks() -> None:
    window = ReplayWindow()
    window.accept(5)
    window.accept(5 + BLOCK * BLOCKS)
    assert window.fresh(6 + BLOCK * BLOCKS)
    assert not window.fresh(5)


def test_negative_counters_are_never_fresh() -> None:
    assert not ReplayWindow().fresh(-1)
