import pytest

from app.core.engine import framing


def test_a_frame_carries_header_and_payload() -> None:
    frame = framing.pack(b"head", b"payload")
    assert framing.sizes(frame[:8]) == (4, 7)
    assert frame[8:] == b"headpayload"


@pytest.mark.parametrize("header", [framing.MAX_HEADER + 1, 2**32 - 1])
def test_an_announced_size_over_the_bound_is_refused_before_anything_is_read(header: int) -> None:
    with pytest.raises(framing.FrameTooLarge):
        framing.sizes(framing.PREFIX.pack(header, 0))


def test_an_announced_payload_over_the_bound_is_refused() -> None:
    with pytest.raises(framing.FrameTooLarge):
        framing.sizes(framing.PREFIX.pack(10, framing.MAX_PAYLOAD + 1))
