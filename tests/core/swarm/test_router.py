import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.engine.messages import TextPrompt
from app.core.kernel.errors import Conflict, ModelNotFound, Overloaded, WorkerCrashed
from app.core.kernel.events import EventBus, RequestFinished
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    Message,
    Started,
    TextDelta,
)
from app.core.swarm.router import Router, RouterLimits
from tests.support import engine_script as script
from tests.support.engine_library import Entry, Shelf


class World:
    def __init__(self, router: Router, engine: Engine, shelf: Shelf) -> None:
        self.router = router
        self.engine = engine
        self.shelf = shelf
        self.finished: list[RequestFinished] = []

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.finished]


@asynccontextmanager
async def world(
    folder: Path, *, limits: RouterLimits | None = None, default: str = ""
) -> AsyncIterator[World]:
    errors: list[Exception] = []
    bus = EventBus(errors.append)
    entries = [
        Entry("part", "Part of it", complete=False),
        Entry("one", "Model One"),
        Entry("two", "Model Two"),
    ]
    shelf = Shelf(entries, {name: script.model(folder, name) for name in ("one", "two")})
    engine = Engine(
        limits=EngineLimits(threads=1),
        bus=bus,
        worker_command=script.command(),
        clock=time.monotonic,
    )
    router = Router(
        engine=engine,
        library=shelf,
        bus=bus,
        limits=limits or RouterLimits(),
        default_model=default,
        clock=time.monotonic,
    )
    made = World(router, engine, shelf)
    bus.subscribe(RequestFinished, made.finished.append)
    async with engine:
        yield made
    assert errors == []


def chat(text: str, model: str = "") -> ChatRequest:
    return ChatRequest(model=model, messages=(Message(role="user", content=text),))


async def text_of(chunks: AsyncIterator[Chunk]) -> str:
    return "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextDelta)])


async def model_of(chunks: AsyncIterator[Chunk]) -> str:
    return [chunk.model async for chunk in chunks if isinstance(chunk, Started)].pop()


async def test_names_are_resolved(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert await model_of(w.router.chat(chat("1 words"))) == "one"
        assert await model_of(w.router.chat(chat("1 words", "auto"))) == "one"
        assert await model_of(w.router.chat(chat("1 words", "Model Two"))) == "two"
    async with world(tmp_path, default="Model Two") as w:
        assert w.router.resolve("auto").id == "two"
        assert w.router.resolve("one").id == "one"


async def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    async with world(tmp_path, default="gone") as w:
        for name in ("nope", "auto"):
            with pytest.raises(ModelNotFound, match=r"This node has: Model One, Model Two\."):
                await text_of(w.router.chat(chat("1 words", name)))
        w.shelf.entries.clear()
        with pytest.raises(ModelNotFound, match="no complete model"):
            await w.router.embed(EmbeddingRequest(model="nope", inputs=("a",)))
    async with world(tmp_path) as w:
        w.shelf.entries[1:] = []
        with pytest.raises(ModelNotFound, match="add one first"):
            w.router.resolve("")
        with pytest.raises(Conflict, match="not complete"):
            await text_of(w.router.chat(chat("1 words", "part")))


async def test_every_kind_of_request_is_carried_out_and_accounted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await text_of(w.router.chat(chat("3 words")))
        await text_of(w.router.complete(CompletionRequest(model="one", prompt="4 words")))
        assert (await w.router.embed(EmbeddingRequest(model="one", inputs=("a",)))).count == 1
        assert await w.router.tokenize("one", TextPrompt(text="a")) == (1,)
        assert w.outcomes == ["ok"] * 3
        assert [event.completion_tokens for event in w.finished] == [3, 4, 0]
        assert [event.prompt_tokens for event in w.finished] == [2, 2, 3]
        assert w.router.totals.finished == 3
        assert w.router.totals.completion_tokens == 7
        assert w.shelf.asked == ["one"]


async def test_beyond_the_bound_requests_wait_and_then_are_refused(tmp_path: Path) -> None:
    limits = RouterLimits(max_concurrent_requests=2, max_queued_requests=3)
    async with world(tmp_path, limits=limits) as w:
        tasks = [asyncio.create_task(text_of(w.router.chat(chat("20 words 5 ms")))) for _ in range(5)]
        await asyncio.sleep(0)
        assert (w.router.running, w.router.queued) == (2, 3)
        with pytest.raises(Overloaded):
            await text_of(w.router.chat(chat("1 words")))
        tasks[4].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, str) for result in results[:4])
        assert isinstance(results[4], asyncio.CancelledError)
        assert (w.router.running, w.router.queued) == (0, 0)
        assert sorted(w.outcomes) == ["cancelled", "ok", "ok", "ok", "ok", "overloaded"]


async def test_twenty_at_once_are_all_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answers = await asyncio.gather(*(text_of(w.router.chat(chat("5 words"))) for _ in range(20)))
        assert set(answers) == {"w0 w1 w2 w3 w4 "}


async def test_hanging_up_is_accounted_as_cancelled_and_frees_the_place(tmp_path: Path) -> None:
    async with world(tmp_path, limits=RouterLimits(max_concurrent_requests=1)) as w:
        async with aclosing(w.router.chat(chat("100000 words 1 ms"))) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, TextDelta):
                    break
        assert w.outcomes == ["cancelled"]
        assert w.finished[0].completion_tokens == 1
        assert await text_of(w.router.chat(chat("1 words"))) == "w0 "
        assert w.router.totals.cancelled == 1


async def test_a_crash_is_an_outcome_and_the_next_request_works(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        stream = w.router.chat(chat("100000 words 1 ms"))
        await anext(stream)
        os.kill(w.engine.loaded()[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed):
            await text_of(stream)
        assert await text_of(w.router.chat(chat("1 words"))) == "w0 "
        assert w.outcomes == ["worker_crashed", "ok"]
        assert w.router.totals.failed == 1


async def test_a_refusal_names_what_is_missing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(Conflict, match=r"missing: the embedding, layers 0 to 1, the output head"):
            await text_of(w.router.chat(chat("1 words", "part")))
