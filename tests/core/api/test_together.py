"""Several answers as one."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from app.core.api.together import side_by_side
from app.core.kernel.errors import WorkerCrashed
from app.core.kernel.generation import Chunk, Started, TextDelta, Usage
from tests.support.api_router import ScriptedRouter, answer, whole


def playing(*scripts: Sequence[Chunk | Exception | asyncio.Event]) -> list[ScriptedRouter]:
    return [ScriptedRouter(script=script) for script in scripts]


def answers(routers: list[ScriptedRouter]) -> list[AsyncIterator[Chunk]]:
    return [router._play(None) for router in routers]  # type: ignore[arg-type]


async def test_choices_are_numbered_through_and_counts_added_up() -> None:
    routers = playing(
        whole(*answer("a"), *answer("b", choice=1)), whole(*answer("c"), *answer("d", choice=1))
    )
    chunks = [chunk async for chunk in side_by_side(answers(routers), n=2)]
    assert isinstance(chunks[0], Started)
    assert sum(isinstance(chunk, Started) for chunk in chunks) == 1
    texts = {chunk.choice: chunk.text for chunk in chunks if isinstance(chunk, TextDelta)}
    assert texts == {0: "a", 1: "b", 2: "c", 3: "d"}
    assert chunks[-1] == Usage(
        prompt_tokens=14, completion_tokens=4, cached_tokens=6, prefill_seconds=1.0, decode_seconds=0.5
    )


async def test_an_error_of_one_ends_all() -> None:
    routers = playing(whole(asyncio.Event()), [WorkerCrashed("It ended.")])
    with pytest.raises(WorkerCrashed):
        async for _ in side_by_side(answers(routers), n=1):
            pass
    assert [router.open for router in routers] == [0, 0]


async def test_closing_ends_all() -> None:
    routers = playing(whole(asyncio.Event()), whole(asyncio.Event()))
    together = side_by_side(answers(routers), n=1)
    await anext(together)
    await together.aclose()  # type: ignore[attr-defined]
    assert [router.open for router in routers] == [0, 0]
