import pytest

from app.core.kernel.units import GIB, MIB, human_bytes, human_seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (512 * MIB, "512 MiB"),
        (4 * GIB, "4.0 GiB"),
        (3 << 41, "6.0 TiB"),
    ],
)
def test_bytes_read_with_a_binary_unit(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7320, "2 h 2 min")]
)
def test_durations_read_in_two_units(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
