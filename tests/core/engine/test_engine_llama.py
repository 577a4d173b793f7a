"""The engine with real workers and the built-in model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.engine.messages import TextPrompt
from app.core.kernel.errors import BadModelFile, InvalidGrammar, LoadFailed, WorkerCrashed
from app.core.kernel.events import EventBus
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    EmbeddingRequest,
    Finished,
    Gbnf,
    Message,
    Sampling,
    Started,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolChoice,
)
from app.core.kernel.window import Window

COMMAND = [sys.executable, "-m", "app", "worker"]
GREEDY = Sampling(temperature=0.0, max_tokens=24, ignore_eos=True)

HOLDER = """
import asyncio, sys, time
from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.kernel.events import EventBus
from app.core.kernel.window import Window

async def main():
    engine = Engine(
        limits=EngineLimits(threads=1), bus=EventBus(print), worker_command=sys.argv[2:], clock=time.monotonic
    )
    window = Window(files=(sys.argv[1],), architecture="llama", first=0, last=8, n_layers=8)
    async with engine:
        await engine.load("guide", window)
        print(engine.loaded()[0].pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def whole(path: Path) -> Window:
    return Window(files=(str(path),), architecture="llama", first=0, last=8, n_layers=8)


def make() -> Engine:
    return Engine(
        limits=EngineLimits(threads=1),
        bus=EventBus(lambda error: pytest.fail(str(error))),
        worker_command=COMMAND,
        clock=time.monotonic,
    )


def chat(text: str, sampling: Sampling = GREEDY, **more: object) -> ChatRequest:
    return ChatRequest(
        model="guide",
        messages=(Message(role="user", content=text),),
        sampling=sampling,
        **more,  # type: ignore[arg-type]
    )


async def text_of(chunks: AsyncIterator[Chunk]) -> str:
    return "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextDelta)])


async def test_a_real_worker_answers_embeds_calls_tools_and_comes_back_after_kill(guide_model: Path) -> None:
    window = whole(guide_model)
    async with make() as engine:
        alone = await text_of(engine.chat("guide", window, chat("What are you?")))
        assert alone
        questions = [f"Question {index}: what is a node?" for index in range(20)]
        answers = await asyncio.gather(*(text_of(engine.chat("guide", window, chat(q))) for q in questions))
        assert all(answers)

        with pytest.raises(WorkerCrashed):  # noqa: PT012
            async for chunk in engine.chat("guide", window, chat("What are you?")):
                if isinstance(chunk, Started):
                    os.kill(engine.loaded()[0].pid, signal.SIGKILL)
        assert await text_of(engine.chat("guide", window, chat("What are you?"))) == alone

        long = Sampling(temperature=0.0, max_tokens=1500, ignore_eos=True)
        stream = engine.chat("guide", window, chat("Hello", long))
        assert isinstance(await anext(stream), Started)
        await stream.aclose()
        (model,) = await engine.stats()
        assert model.pulse is not None
        assert model.pulse.busy_slots == 0

        vectors = await engine.embed("guide", window, EmbeddingRequest(model="guide", inputs=("a", "b")))
        assert len(vectors.vectors) == 2 * vectors.width * 4
        assert await engine.tokenize("guide", window, TextPrompt(text="hello node"))


async def test_a_forced_call_comes_out_as_a_call(guide_model: Path) -> None:
    schema = '{"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}'
    request = chat(
        "Switch the light on",
        Sampling(temperature=0.0, max_tokens=100),
        tools=(Tool(name="switch", parameters=schema), Tool(name="other")),
        tool_choice=ToolChoice(mode="named", name="switch"),
        parallel_tool_calls=False,
    )
    async with make() as engine:
        chunks = [chunk async for chunk in engine.chat("guide", whole(guide_model), request)]
    calls = [chunk for chunk in chunks if isinstance(chunk, ToolCallDelta)]
    assert [call.name for call in calls if call.name] == ["switch"]
    assert json.loads("".join(call.arguments for call in calls)) in ({"on": True}, {"on": False})
    assert [chunk.reason for chunk in chunks if isinstance(chunk, Finished)] == ["tool_calls"]
    assert not any(isinstance(chunk, TextDelta) for chunk in chunks)


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_truncated_file_is_refused_with_a_sentence(guide_model: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(guide_model.read_bytes()[:size])

    async def load() -> None:
        async with make() as engine:
            await engine.load("cut", whole(path))

    with pytest.raises((LoadFailed, BadModelFile)) as caught:
        asyncio.run(load())
    assert caught.value.message.endswith(".")


def test_workers_end_with_a_node_that_is_killed(guide_model: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(guide_model), *COMMAND], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        worker = psutil.Process(int(holder.stdout.readline()))
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    psutil.wait_procs([worker], 10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
async def test_a_grammar_that_hangs_costs_its_own_request_and_the_next_one_works(guide_model: Path) -> None:
    window = whole(guide_model)
    hangs = Sampling(
        grammar=Gbnf("root ::= " + " | ".join(["[^x] root"] * 500)), temperature=1.0, max_tokens=24
    )
    async with make() as engine:
        with pytest.raises(InvalidGrammar, match="too ambiguous"):
            await text_of(engine.chat("guide", window, chat("Hello", hangs)))
        assert await text_of(engine.chat("guide", window, chat("Hello")))
