import asyncio

import pytest

from app.core.engine.inbox import Inbox
from app.core.engine.messages import Done, Failed, Finished, Piece, Report, Started
from app.core.kernel.errors import ContextOverflow, WorkerCrashed


def piece(text: str, choice: int = 0) -> Piece:
    return Piece(request=1, choice=choice, text=text, tokens=(len(text),))


FINISHED = Finished(request=1, choice=0, reason="stop", completion_tokens=1)
DONE = Done(
    request=1,
    prompt_tokens=1,
    cached_tokens=0,
    completion_tokens=1,
    prefill_seconds=0,
    decode_seconds=0,
)


async def everything(inbox: Inbox) -> list[Report]:
    reports: list[Report] = []
    while not reports or not isinstance(reports[-1], Done):
        reports.append((await inbox.get())[0])
    return reports


async def test_a_prompt_consumer_gets_every_piece_as_it_is() -> None:
    inbox = Inbox(request=1, bound=2)
    for text in "abcdef":
        assert inbox.put(piece(text), b"") is False
        assert (await inbox.get())[0] == piece(text)
    assert inbox.put(DONE, b"") is True


async def test_behind_a_slow_consumer_pieces_grow_together_per_choice() -> None:
    inbox = Inbox(request=1, bound=2)
    inbox.put(Started(request=1, prompt_tokens=1, cached_tokens=0), b"")
    for index in range(100):
        inbox.put(piece(str(index % 10), index % 2), b"")
    inbox.put(FINISHED, b"")
    inbox.put(DONE, b"")
    reports = await everything(inbox)
    assert len(reports) == 6
    assert isinstance(reports[0], Started)
    assert reports[-2:] == [FINISHED, DONE]
    for choice in (0, 1):
        texts = [r.text for r in reports if isinstance(r, Piece) and r.choice == choice]
        assert "".join(texts) == "".join(str(index % 10) for index in range(choice, 100, 2))
    assert sum(len(r.tokens) for r in reports if isinstance(r, Piece)) == 100


async def test_an_error_comes_after_what_was_there_before() -> None:
    inbox = Inbox(request=1, bound=1)
    for text in "abc":
        inbox.put(piece(text), b"")
    inbox.fail(WorkerCrashed("Gone."))
    assert (await inbox.get())[0] == piece("a")
    assert (await inbox.get())[0].text == "bc"  # type: ignore[union-attr]
    with pytest.raises(WorkerCrashed, match="Gone"):
        await inbox.get()


async def test_failed_is_raised_as_the_error_it_names() -> None:
    inbox = Inbox(request=1, bound=1)
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert inbox.put(Failed(request=1, code="context_length_exceeded", message="Long."), b"") is True
    with pytest.raises(ContextOverflow, match="Long"):
        await waiting
