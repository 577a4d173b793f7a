import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.engine.limits import (
    MIN_CONTEXT,
    EngineLimits,
    least_bytes,
    plan_load,
    seconds_between_pings,
    thread_bound,
    usable_memory,
)
from app.core.kernel.errors import OutOfMemory
from app.core.kernel.units import GIB, MIB


def test_with_plenty_of_memory_everything_wished_is_given() -> None:
    limits = EngineLimits(context_tokens=4096, slots=8, prefix_cache_bytes=512 * MIB)
    plan = plan_load(limits, model_bytes=640 * MIB, layers=22, free_bytes=20 * GIB)
    assert (plan.context_tokens, plan.slots, plan.prefix_cache_bytes) == (4096, 8, 512 * MIB)


def test_slots_are_given_up_before_context() -> None:
    limits = EngineLimits(context_tokens=4096, slots=8)
    plan = plan_load(limits, model_bytes=4 * GIB, layers=32, free_bytes=6 * GIB)
    assert plan.context_tokens == 4096
    assert plan.slots == 1
    tight = plan_load(limits, model_bytes=4 * GIB, layers=32, free_bytes=4 * GIB + 600 * MIB)
    assert (tight.slots, tight.context_tokens % 256) == (1, 0)
    assert MIN_CONTEXT <= tight.context_tokens < 4096


def test_what_does_not_fit_at_all_is_refused_with_figures() -> None:
    with pytest.raises(OutOfMemory, match=r"about 4\.\d GiB of memory, but only 2\.0 GiB are free"):
        plan_load(EngineLimits(), model_bytes=4 * GIB, layers=32, free_bytes=2 * GIB)


@given(
    model=st.integers(1, 200 * GIB),
    layers=st.integers(1, 200),
    free=st.integers(0, 400 * GIB),
    context=st.integers(1, 1 << 20),
    slots=st.integers(1, 64),
)
def test_a_plan_never_exceeds_what_is_free(
    model: int, layers: int, free: int, context: int, slots: int
) -> None:
    limits = EngineLimits(context_tokens=context, slots=slots)
    try:
        plan = plan_load(limits, model_bytes=model, layers=layers, free_bytes=free)
    except OutOfMemory:
        assert least_bytes(model, layers) > free
        return
    assert plan.memory_bytes + plan.prefix_cache_bytes <= free
    assert 1 <= plan.slots <= slots
    assert 1 <= plan.context_tokens <= context


def test_the_users_bound_counts_all_workers() -> None:
    limits = EngineLimits(max_memory=8 * GIB)
    assert usable_memory(limits, available_bytes=64 * GIB, used_by_workers=5 * GIB) == 3 * GIB
    assert usable_memory(EngineLimits(), available_bytes=GIB, used_by_workers=0) < GIB


def test_threads_are_bounded_by_cores_and_wish() -> None:
    assert thread_bound(EngineLimits(), cores=4) == 4
    assert thread_bound(EngineLimits(threads=2), cores=4) == 2
    assert thread_bound(EngineLimits(threads=16), cores=4) == 4


def test_pings_come_often_enough_to_see_a_stall() -> None:
    for stall in (0.2, 1.0, 10.0, 120.0):
        assert seconds_between_pings(EngineLimits(stall_seconds=stall)) <= stall / 2
