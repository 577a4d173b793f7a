import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.keys import NodeKeys
from app.core.network.records import (
    LIFETIME_SECONDS,
    MAX_DATA,
    SKEW_SECONDS,
    BadRecord,
    make_record,
    newest,
    read_record,
)

ALICE, BOB = NodeKeys(bytes(32)), NodeKeys(b"\1" * 32)
KEY, NOW = "/swarmllm/model", 1_800_000_000.0


def test_a_record_names_its_signer_time_and_data() -> None:
    record = read_record(KEY, make_record(ALICE, KEY, b"data", NOW), NOW + 60)
    assert (record.origin, record.signed_at, record.data) == (ALICE.node_id, NOW, b"data")


@pytest.mark.parametrize("age", [LIFETIME_SECONDS + 1, -SKEW_SECONDS - 1])
def test_a_record_is_worth_nothing_after_an_hour_or_from_the_future(age: float) -> None:
    with pytest.raises(BadRecord):
        read_record(KEY, make_record(ALICE, KEY, b"data", NOW), NOW + age)


def test_a_record_cannot_be_moved_to_another_key() -> None:
    with pytest.raises(BadRecord):
        read_record("/swarmllm/other", make_record(ALICE, KEY, b"data", NOW), NOW)


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    value = bytearray(make_record(ALICE, KEY, b"data", NOW))
    value[place % len(value)] ^= change
    with pytest.raises(BadRecord):
        read_record(KEY, bytes(value), NOW)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_record(value: bytes) -> None:
    with pytest.raises(BadRecord):
        read_record(KEY, value, NOW)


def test_the_newest_valid_record_wins() -> None:
    values = [
        make_record(ALICE, KEY, b"old", NOW - 60),
        b"garbage",
        make_record(BOB, KEY, b"new", NOW),
        make_record(BOB, KEY, b"tomorrow", NOW + 86_400),
    ]
    assert newest(KEY, values, NOW) == 2
    assert newest(KEY, [b"garbage"], NOW) == 0


def test_oversized_data_is_not_signed() -> None:
    with pytest.raises(BadRecord):
        make_record(ALICE, KEY, bytes(MAX_DATA + 1), NOW)
