"""Which turns have widgets."""

from hypothesis import given
from hypothesis import strategies as st

from app.ui.chat.live_range import FIRST_PAGE, MAX_LIVE, LiveRange


def test_a_long_chat_opens_at_its_end() -> None:
    live = LiveRange.newest(1000)
    assert (live.first, live.last) == (1000 - FIRST_PAGE, 1000)
    assert live.has_older
    assert not live.has_newer


def test_scrolling_up_drops_the_end_and_down_brings_it_back() -> None:
    live = LiveRange.newest(1000)
    for _ in range(20):
        live = live.older()
    assert live.last - live.first == MAX_LIVE
    assert live.has_newer
    while live.has_newer:
        live = live.newer()
    assert live.last == 1000


def test_a_message_added_while_reading_old_ones_does_not_move_them() -> None:
    live = LiveRange(0, 200, 1000).appended()
    assert (live.first, live.last, live.total) == (0, 200, 1001)


def test_cutting_the_chat_short_keeps_the_range_inside() -> None:
    assert LiveRange(100, 140, 140).truncated(120) == LiveRange(100, 120, 120)
    assert LiveRange(100, 140, 140).truncated(3) == LiveRange(0, 3, 3)


@given(st.integers(0, 900), st.lists(st.sampled_from(["older", "newer", "appended"]), max_size=60))
def test_the_range_is_always_inside_and_bounded(total: int, steps: list[str]) -> None:
    live = LiveRange.newest(total)
    for step in steps:
        live = getattr(live, step)()
        assert 0 <= live.first <= live.last <= live.total
        assert live.last - live.first <= MAX_LIVE
