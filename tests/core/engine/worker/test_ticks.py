"""The plan of a tick."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.engine.worker.ticks import plan_tick

needs = st.lists(st.integers(1, 600), max_size=8)


@given(st.integers(0, 8), needs, st.integers(1, 128), st.integers(8, 512))
def test_the_batch_never_overflows_and_no_row_is_wasted(
    decoding: int, waiting: list[int], chunk: int, batch: int
) -> None:
    shares = plan_tick(decoding=decoding, waiting=waiting, chunk=chunk, batch=batch)
    room = min(chunk, batch - decoding) if decoding else batch
    assert len(shares) == len(waiting)
    assert all(0 <= share <= need for share, need in zip(shares, waiting, strict=True))
    assert sum(shares) == min(room, sum(waiting))


def test_running_answers_leave_prompts_only_a_chunk() -> None:
    assert plan_tick(decoding=1, waiting=[500], chunk=128, batch=512) == (128,)
    assert plan_tick(decoding=0, waiting=[500], chunk=128, batch=512) == (500,)


def test_prompts_share_equally_and_short_ones_leave_the_rest_to_long_ones() -> None:
    assert plan_tick(decoding=2, waiting=[400, 400], chunk=128, batch=512) == (64, 64)
    assert plan_tick(decoding=2, waiting=[10, 400], chunk=128, batch=512) == (10, 118)


def test_with_fewer_rows_than_prompts_the_first_are_served() -> None:
    assert plan_tick(decoding=1, waiting=[9, 9, 9], chunk=2, batch=512) == (1, 1, 0)
