import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.scheduling.averages import Average, Speeds

POSITIVE = st.floats(1e-6, 1e3)


def test_the_first_sample_is_the_average() -> None:
    assert Average().fed(3.0).value == 3.0


@given(st.lists(POSITIVE, min_size=1))
def test_an_average_stays_between_its_samples(samples: list[float]) -> None:
    average = Average()
    for sample in samples:
        average = average.fed(sample)
    assert min(samples) * (1 - 1e-9) <= average.value <= max(samples) * (1 + 1e-9)
    assert average.count == len(samples)


@given(POSITIVE, POSITIVE, st.integers(1, 12))
def test_a_heavy_sample_counts_as_many_equal_ones(start: float, sample: float, weight: int) -> None:
    many = Average().fed(start)
    for _ in range(weight):
        many = many.fed(sample)
    assert Average().fed(start).fed(sample, weight=weight).value == pytest.approx(many.value)


def test_samples_that_tell_nothing_change_nothing() -> None:
    average = Average().fed(1.0)
    for sample in (0.0, -1.0, math.nan, math.inf):
        assert average.fed(sample) == average


def test_a_request_gives_seconds_for_a_layer_and_a_token() -> None:
    speeds = Speeds().after(
        decode_layers=11.0,
        prefill_layers=10.0,
        prompt_tokens=100,
        prefill_seconds=2.0,
        answer_tokens=50,
        decode_seconds=5.5,
    )
    assert speeds.prefill.value == pytest.approx(0.002)
    assert speeds.decode.value == pytest.approx(0.01)


def test_what_came_from_a_cache_is_no_measurement() -> None:
    speeds = Speeds().after(
        decode_layers=1,
        prefill_layers=1,
        prompt_tokens=0,
        prefill_seconds=1,
        answer_tokens=0,
        decode_seconds=1,
    )
    assert speeds == Speeds()
