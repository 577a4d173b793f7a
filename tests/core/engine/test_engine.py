"""The node's side of the engine against real processes that speak real frames (`engine_script`)."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.core.engine import messages
from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.engine.machine import Machine
from app.core.kernel.errors import (
    BadModelFile,
    Conflict,
    ContextOverflow,
    LoadFailed,
    OutOfMemory,
    Unsupported,
    WorkerCrashed,
)
from app.core.kernel.events import EventBus, ModelLoaded, ModelUnloaded, Notice
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    Finished,
    Message,
    ReasoningDelta,
    Sampling,
    Started,
    TextDelta,
    Tool,
    ToolChoice,
    Usage,
)
from app.core.kernel.units import GIB, MIB
from app.core.kernel.window import Window
from tests.support import engine_script as script
from tests.support.engine_chat import collect


class Shown(Machine):
    """A machine with memory that the test decides on."""

    def __init__(self, available: int = 64 * GIB) -> None:
        self.available = available
        self.asked = 0

    def available_memory(self, *, mapped: int) -> int:
        self.asked += 1
        return self.available - mapped


class Busy(Shown):
    """Two cores, one of which somebody else keeps busy while `busy`."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = True
        self.began = time.monotonic()

    @property
    def cores(self) -> int:
        return 2

    def busy_seconds(self) -> float:
        return time.monotonic() - self.began if self.busy else 0.0

    def process_seconds(self, pids: Iterable[int]) -> float:
        return 0.0

    def waits(self, pids: Iterable[int]) -> tuple[int, int] | None:
        return None


class Clock:
    """The clock, `ahead` by as many seconds as the test likes."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Log:
    """Events in order."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.bus = EventBus(self.errors.append)
        self.unloaded: list[tuple[str, str]] = []
        self.loaded: list[str] = []
        self.notices: list[str] = []
        self.bus.subscribe(ModelUnloaded, lambda e: self.unloaded.append((e.model, e.reason)))
        self.bus.subscribe(ModelLoaded, lambda e: self.loaded.append(e.model))
        self.bus.subscribe(Notice, lambda e: self.notices.append(e.message))


@asynccontextmanager
async def running(
    log: Log | None = None,
    machine: Machine | None = None,
    limits: EngineLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Engine]:
    log = log or Log()
    engine = Engine(
        limits=limits or EngineLimits(threads=1),
        bus=log.bus,
        worker_command=script.command(),
        clock=clock,
        machine=machine or Shown(),
        new_call_id=lambda: "call_1",
    )
    async with engine:
        yield engine
    assert log.errors == []


def chat(text: str, n: int = 1, **more: object) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message(role="user", content=text),), n=n, **more)  # type: ignore[arg-type]


async def text_of(chunks: AsyncIterator[Chunk]) -> str:
    return "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextDelta)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def words(count: int) -> str:
    return "".join(f"w{index} " for index in range(count))


@pytest.fixture
def window(tmp_path: Path) -> Window:
    return script.model(tmp_path)


async def test_chunks_come_in_the_order_the_kernel_promises(window: Window) -> None:
    async with running() as engine:
        chunks = [chunk async for chunk in engine.chat("m", window, chat("3 words", n=2))]
    assert chunks[0] == Started(model="m", prompt_tokens=2, cached_tokens=1)
    assert isinstance(chunks[-1], Usage)
    assert chunks[-1].completion_tokens == 6
    for choice in (0, 1):
        assert "".join(c.text for c in chunks if isinstance(c, TextDelta) and c.choice == choice) == words(3)
    assert [c for c in chunks if isinstance(c, Finished)] == [
        Finished(reason="stop", choice=0, completion_tokens=3),
        Finished(reason="stop", choice=1, completion_tokens=3),
    ]


async def test_thoughts_and_calls_are_taken_apart(window: Window) -> None:
    request = chat(
        'say <think>Hm.</think>So:<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
        tools=(Tool(name="add"),),
    )
    async with running() as engine:
        chunks = [chunk async for chunk in engine.chat("m", window, request)]
        answer = collect([c for c in chunks if not isinstance(c, Started | Finished | Usage)])
        assert (answer.reasoning, answer.text) == ("Hm.", "So:")
        assert answer.calls == [("call_1", "add", '{"a": 1}')]
        assert [c.reason for c in chunks if isinstance(c, Finished)] == ["tool_calls"]
        unwanted = ChatRequest(
            model="m", messages=request.messages, tools=request.tools, tool_choice=ToolChoice(mode="none")
        )
        assert "<tool_call>" in await text_of(engine.chat("m", window, unwanted))


async def test_logprobs_follow_the_text_they_belong_to(window: Window) -> None:
    request = chat("say <think>a</think>b<c", sampling=Sampling(logprobs=1), tools=(Tool(name="f"),))
    async with running() as engine:
        chunks = [chunk async for chunk in engine.chat("m", window, request)]
    texts = [chunk for chunk in chunks if isinstance(chunk, TextDelta)]
    assert any(isinstance(chunk, ReasoningDelta) for chunk in chunks)
    assert "".join(chunk.text for chunk in texts) == "b<c"
    assert b"".join(logprob.text for chunk in texts for logprob in chunk.logprobs) == b"b<c"


async def test_completions_echo_and_take_tokens(window: Window) -> None:
    async with running() as engine:
        echoed = CompletionRequest(model="m", prompt="2 words", echo=True)
        assert await text_of(engine.complete("m", window, echoed)) == "2 words" + words(2)
        tokens = CompletionRequest(model="m", prompt=(1, 2))
        assert await text_of(engine.complete("m", window, tokens)) == ""
        with pytest.raises(Unsupported):
            engine.complete("m", window, CompletionRequest(model="m", prompt=(1,), echo=True))


async def test_embeddings_tokens_and_hidden_states_come_back_whole(window: Window) -> None:
    async with running() as engine:
        result = await engine.embed("m", window, EmbeddingRequest(model="m", inputs=("a", "b")))
        assert (result.count, result.width, result.prompt_tokens) == (2, 2, 3)
        assert np.frombuffer(result.vectors, np.float32).tolist() == [0, 1, 2, 3]
        assert await engine.tokenize("m", window, messages.TextPrompt(text="a bcd")) == (1, 3)
        rows = np.arange(6, dtype=np.float32).reshape(6, 1)
        hidden = await engine.forward("m", window, sequence=7, position=0, inputs=rows, wanted=2)
        assert hidden.array().tolist() == [[4.0], [5.0]]
        assert (await engine.stats())[0].sequences == 1
        engine.end_sequence("m", window, sequence=7)
        (model,) = await engine.stats()
        assert model.pulse is not None
        assert model.pulse.sequences == 0


async def test_a_lost_sequence_is_an_error_and_not_a_wrong_answer(window: Window) -> None:
    row = np.zeros((1, 1), dtype=np.float32)
    async with running() as engine:
        await engine.forward("m", window, sequence=1, position=0, inputs=row, wanted=1)
        os.kill(engine.loaded()[0].pid, signal.SIGKILL)
        await until(lambda: not engine.loaded())
        with pytest.raises(WorkerCrashed, match="state of this sequence"):
            await engine.forward("m", window, sequence=1, position=1, inputs=row, wanted=1)


async def test_requests_share_one_start_and_run_side_by_side(tmp_path: Path) -> None:
    log = Log()
    window = script.model(tmp_path, manner="slow")
    async with running(log) as engine:
        answers = await asyncio.gather(
            *(text_of(engine.chat("m", window, chat(f"{count} words 1 ms"))) for count in range(20))
        )
        assert len(engine.loaded()) == 1
    assert answers == [words(count) for count in range(20)]
    assert log.loaded == ["m"]
    assert log.unloaded == [("m", "stopped")]


async def test_errors_of_the_worker_are_the_callers(window: Window) -> None:
    async with running() as engine:
        with pytest.raises(ContextOverflow, match="Too long"):
            await text_of(engine.chat("m", window, chat("refuse")))
        assert await text_of(engine.chat("m", window, chat("1 words"))) == words(1)


async def test_a_killed_worker_costs_its_requests_only_and_is_replaced(tmp_path: Path) -> None:
    log = Log()
    one, two = script.model(tmp_path, "one"), script.model(tmp_path, "two")
    async with running(log) as engine:
        seen = ""
        other = asyncio.create_task(text_of(engine.chat("two", two, chat("50 words 10 ms"))))
        with pytest.raises(WorkerCrashed, match=r"killed \(SIGKILL\)"):  # noqa: PT012
            async for chunk in engine.chat("one", one, chat("1000 words 10 ms")):
                if isinstance(chunk, TextDelta):
                    seen += chunk.text
                    if seen == words(3):
                        pid = next(model.pid for model in engine.loaded() if model.model == "one")
                        os.kill(pid, signal.SIGKILL)
        assert seen.startswith(words(3))
        assert await text_of(engine.chat("one", one, chat("5 words"))) == words(5)
        assert await other == words(50)
    assert log.loaded.count("one") == 2
    assert ("one", "crashed") in log.unloaded


async def test_what_was_said_before_a_crash_still_arrives(window: Window) -> None:
    got = []
    async with running() as engine:
        with pytest.raises(WorkerCrashed):  # noqa: PT012
            async for chunk in engine.chat("m", window, chat("20 words die")):
                await asyncio.sleep(0.005)
                got.append(chunk)
    assert "".join(chunk.text for chunk in got if isinstance(chunk, TextDelta)) == words(20)


async def test_closing_the_stream_cancels_in_the_worker(window: Window) -> None:
    async with running() as engine:
        async with aclosing(engine.chat("m", window, chat("100000 words 1 ms"))) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, TextDelta):
                    break
        task = asyncio.create_task(text_of(engine.chat("m", window, chat("100000 words 1 ms"))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (model,) = await engine.stats()
        assert model.requests == 0
        assert model.pulse is not None
        assert model.pulse.busy_slots == 0


async def test_a_slow_consumer_loses_nothing_and_holds_up_nobody(window: Window) -> None:
    async with running(limits=EngineLimits(threads=1, queue_pieces=4)) as engine:
        slow = engine.chat("m", window, chat("3000 words", n=2))
        assert isinstance(await anext(slow), Started)
        assert await text_of(engine.chat("m", window, chat("3000 words"))) == words(3000)
        rest = [chunk async for chunk in slow]
    assert len(rest) < 100
    for choice in (0, 1):
        assert "".join(c.text for c in rest if isinstance(c, TextDelta) and c.choice == choice) == words(3000)


@pytest.mark.parametrize(
    ("manner", "error", "words_of_it"),
    [
        ("abort", LoadFailed, r"crashed \(SIGABRT\).*damaged.*failed to read tensor data"),
        ("vanish", OutOfMemory, "not enough memory"),
        ("refuse", BadModelFile, "is no model"),
    ],
)
async def test_loading_that_fails_says_why_to_everybody_who_waits(
    tmp_path: Path, manner: str, error: type[Exception], words_of_it: str
) -> None:
    window = script.model(tmp_path, manner=manner)
    async with running() as engine:
        waiting = [text_of(engine.chat("m", window, chat("1 words"))) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for result in results:
            assert isinstance(result, error)
        with pytest.raises(error, match=words_of_it):
            await engine.load("m", window)
        script.model(tmp_path, manner="well")
        assert await text_of(engine.chat("m", window, chat("1 words"))) == words(1)


async def test_missing_files_and_missing_programs_are_load_failures(window: Window, tmp_path: Path) -> None:
    async with running() as engine:
        gone = Window(files=(str(tmp_path / "no"),), architecture="x", first=0, last=1, n_layers=1)
        with pytest.raises(LoadFailed, match="cannot be read"):
            await engine.load("m", gone)
    log = Log()
    engine = Engine(
        limits=EngineLimits(threads=1),
        bus=log.bus,
        worker_command=[str(tmp_path / "no-program")],
        clock=time.monotonic,
        machine=Shown(),
    )
    async with engine:
        with pytest.raises(LoadFailed, match="could not be started"):
            await engine.load("m", window)


async def test_a_warning_of_the_worker_reaches_people(tmp_path: Path) -> None:
    log = Log()
    async with running(log) as engine:
        await engine.load("m", script.model(tmp_path, manner="warn"))
    assert log.notices == ["m: It is warm."]


@pytest.mark.parametrize("text", ["stall", pytest.param("3 words", marks=pytest.mark.slow)])
async def test_a_worker_without_a_sign_of_life_is_killed(window: Window, text: str) -> None:
    async with running(limits=EngineLimits(threads=1, stall_seconds=1.5)) as engine:
        info = await engine.load("m", window)
        assert info.name == "script"
        if text != "stall":
            os.kill(engine.loaded()[0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerCrashed, match="no sign of life"):
            await text_of(engine.chat("m", window, chat(text)))
        assert await text_of(engine.chat("m", window, chat("1 words"))) == words(1)


@pytest.mark.slow
async def test_loading_that_makes_no_progress_is_ended(tmp_path: Path) -> None:
    async with running(limits=EngineLimits(threads=1, stall_seconds=1.5)) as engine:
        with pytest.raises(LoadFailed, match="made no progress"):
            await engine.load("m", script.model(tmp_path, manner="hang"))


async def test_the_least_recently_used_gives_way(tmp_path: Path) -> None:
    log = Log()
    windows = {name: script.model(tmp_path, name) for name in "abc"}
    async with running(log, limits=EngineLimits(threads=1, max_loaded=2)) as engine:
        for name in "aba":
            await engine.load(name, windows[name])
        await engine.load("c", windows["c"])
        assert {model.model for model in engine.loaded()} == {"a", "c"}
    assert log.unloaded[0] == ("b", "evicted")


async def test_memory_that_is_short_makes_room_for_the_next_model(tmp_path: Path) -> None:
    log = Log()
    big = {name: script.model(tmp_path, name, size=3 * GIB) for name in "ab"}
    async with running(log, Shown(available=6 * GIB)) as engine:
        await engine.load("a", big["a"])
        await engine.load("b", big["b"])
        assert [model.model for model in engine.loaded()] == ["b"]
        with pytest.raises(OutOfMemory, match="needs about"):
            await engine.load("c", script.model(tmp_path, "c", size=7 * GIB))
        assert [model.model for model in engine.loaded()] == ["b"]
    assert ("a", "evicted") in log.unloaded


async def test_idle_workers_make_room_for_others_when_memory_runs_out(window: Window) -> None:
    log, machine, now = Log(), Shown(), Clock()
    async with running(log, machine, EngineLimits(threads=1, stall_seconds=4.0), clock=now) as engine:
        await engine.load("m", window)
        machine.available = 100 * MIB
        now.ahead = 11.0
        await until(lambda: log.unloaded == [("m", "evicted")])


async def test_a_model_in_use_is_not_evicted_before_its_requests_are_done(tmp_path: Path) -> None:
    one, two = script.model(tmp_path, "one"), script.model(tmp_path, "two")
    async with running(limits=EngineLimits(threads=1, max_loaded=1)) as engine:
        first = asyncio.create_task(text_of(engine.chat("one", one, chat("60 words 5 ms"))))
        await until(lambda: any(model.requests for model in engine.loaded()))
        impatient = asyncio.create_task(engine.load("three", script.model(tmp_path, "three")))
        await asyncio.sleep(0.02)
        impatient.cancel()
        both = [
            text_of(engine.chat(name, window, chat("5 words 5 ms")))
            for name, window in [("two", two), ("one", one)] * 3
        ]
        assert await asyncio.gather(*both) == [words(5)] * 6
        assert await first == words(60)


async def test_those_who_wait_for_room_do_not_wake_each_other_in_circles(tmp_path: Path) -> None:
    windows = [script.model(tmp_path, str(index)) for index in range(4)]
    machine = Shown()
    async with running(machine=machine, limits=EngineLimits(threads=1, max_loaded=1)) as engine:
        busy = asyncio.create_task(text_of(engine.chat("0", windows[0], chat("100 words 5 ms"))))
        await until(lambda: any(model.requests for model in engine.loaded()))
        waiting = [asyncio.create_task(engine.load(str(n), windows[n])) for n in range(1, 4)]
        await asyncio.gather(busy, *waiting)
    assert machine.asked < 100


async def test_a_new_worker_survives_the_end_of_its_predecessor(tmp_path: Path) -> None:
    log = Log()
    window = script.model(tmp_path)
    async with running(log) as engine:
        stalled = asyncio.create_task(text_of(engine.chat("m", window, chat("stall"))))
        await until(lambda: any(model.requests for model in engine.loaded()))
        unloading = asyncio.create_task(engine.unload("m", force=True))
        await asyncio.sleep(0)
        assert await text_of(engine.chat("m", window, chat("300 words 5 ms"))) == words(300)
        assert await unloading
        with pytest.raises(WorkerCrashed):
            await stalled
    assert log.unloaded == [("m", "asked"), ("m", "stopped")]


async def test_idle_workers_are_ended_if_wished(window: Window) -> None:
    log = Log()
    async with running(log, limits=EngineLimits(threads=1, idle_seconds=0.2)) as engine:
        await text_of(engine.chat("m", window, chat("60 words 5 ms")))
        assert engine.loaded()
        await until(lambda: log.unloaded == [("m", "idle")])
        assert await text_of(engine.chat("m", window, chat("1 words"))) == words(1)


@pytest.mark.slow
async def test_threads_follow_the_cores_that_are_free(window: Window) -> None:
    machine = Busy()
    async with running(machine=machine, limits=EngineLimits()) as engine:
        await engine.load("m", window)
        assert engine.loaded()[0].threads == 2
        stream = asyncio.create_task(text_of(engine.chat("m", window, chat("100000 words 5 ms"))))
        await until(lambda: engine.loaded()[0].threads == 1)
        machine.busy = False
        await until(lambda: engine.loaded()[0].threads == 2)
        stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream


async def test_unloading_spares_models_in_use_unless_forced(window: Window) -> None:
    async with running() as engine:
        task = asyncio.create_task(text_of(engine.chat("m", window, chat("1000 words 5 ms"))))
        await until(lambda: any(model.requests for model in engine.loaded()))
        with pytest.raises(Conflict):
            await engine.unload("m")
        assert await engine.unload("m", force=True)
        with pytest.raises(WorkerCrashed, match="unloaded"):
            await task
        assert not await engine.unload("m")


async def test_leaving_ends_everything_at_once(tmp_path: Path) -> None:
    tasks = []
    async with running() as engine:
        for index, text in enumerate(["1000 words 5 ms", "stall", "1000 words 1 ms"]):
            window = script.model(tmp_path, str(index))
            tasks.append(asyncio.create_task(text_of(engine.chat(str(index), window, chat(text)))))
        hanging = script.model(tmp_path, "hanging", manner="hang")
        tasks.append(asyncio.create_task(text_of(engine.chat("h", hanging, chat("1 words")))))
        await until(lambda: sum(model.requests for model in engine.loaded()) == 3)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, WorkerCrashed)


@pytest.mark.slow
async def test_many_cycles_leave_no_process_task_or_descriptor_behind(tmp_path: Path) -> None:
    me = psutil.Process()
    window = script.model(tmp_path)

    async def cycle() -> None:
        async with running(limits=EngineLimits(threads=0)) as engine:
            assert await text_of(engine.chat("m", window, chat("3 words"))) == words(3)
            with pytest.raises(WorkerCrashed):
                await text_of(engine.chat("m", window, chat("3 words die")))
            stream = engine.chat("m", window, chat("1000 words 1 ms"))
            await anext(stream)
            await stream.aclose()

    await cycle()
    before = (me.num_fds(), len(asyncio.all_tasks()), len(me.children(recursive=True)))
    for _ in range(10):
        await cycle()
    assert (me.num_fds(), len(asyncio.all_tasks()), len(me.children(recursive=True))) == before


def test_the_window_of_a_big_file_costs_no_disk(tmp_path: Path) -> None:
    window = script.model(tmp_path, size=3 * GIB)
    assert Path(window.files[0]).stat().st_blocks * 512 < MIB
