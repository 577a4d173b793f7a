import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.scheduling.averages import Average, Speeds

POSITIVE = st.floats(1e-6, 1e3)


def test_the_first_sample_is_the_average() -> None:
    assert Average().fed(3.0).value == 3.0


@given(st.lists(st.tuples(POSITIVE, st.floats(0.01, 100.0)), min_size=1))
def test_an_average_stays_between_its_samples(samples: list[tuple[float, float]]) -> None:
    average = Average()
    for sample, weight in samples:
        average = average.fed(sample, weight=weight)
    least, most = min(sample for sample, _ in samples), max(sample for sample, _ in samples)
    assert least * (1 - 1e-9) <= average.value <= most * (1 + 1e-9)


def test_the_first_samples_count_alike_and_later_ones_a_fifth() -> None:
    assert Average().fed(1.0).fed(4.0).value == pytest.approx(2.0)
    settled = Average()
    for _ in range(50):
        settled = settled.fed(1.0)
    assert settled.fed(32.0).value == pytest.approx(2.0)


def test_an_average_follows_a_change_and_shrugs_off_an_outlier() -> None:
    average = Average()
    for _ in range(30):
        average = average.fed(0.01)
    assert average.fed(0.1).value < 0.016
    for _ in range(15):
        average = average.fed(0.05)
    assert average.value == pytest.approx(0.05, rel=0.1)


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
