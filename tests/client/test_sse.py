"""Reading server-sent events, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client.sse import MAX_EVENT, EventReader, EventTooLarge

STREAM = b": hello\n\ndata: one\r\n\r\nevent: x\ndata: two\ndata:three\n\nid: 5\n\ndata: [DONE]\n\n"
EVENTS = [b"one", b"two\nthree", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    reader = EventReader()
    places = [0, *sorted(cuts), len(STREAM)]
    found = [event for start, end in pairwise(places) for event in reader.feed(STREAM[start:end])]
    assert found == EVENTS


def test_an_event_without_end_is_not_gathered_for_ever() -> None:
    reader = EventReader()
    reader.feed(b"data: ")
    with pytest.raises(EventTooLarge):
        reader.feed(b"x" * (MAX_EVENT + 1))
