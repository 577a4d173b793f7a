"""The API over the real engine, library and router, with the built-in model."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from app.core.api.server import ApiServer
from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.kernel.events import EventBus, RequestFinished
from app.core.models.library import Library
from app.core.swarm.router import Router, RouterLimits
from tests.support.api_server import API_KEY, SESSION_TOKEN, Node, raise_it

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
HELLO: Any = [{"role": "user", "content": "Hello!"}]
GUIDE = "guide"


class Running:
    def __init__(self, url: str, bus: EventBus) -> None:
        self.url = url
        self.finished: asyncio.Queue[RequestFinished] = asyncio.Queue()
        bus.subscribe(RequestFinished, self.finished.put_nowait)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(guide_model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    bus = EventBus(raise_it)
    settings = SimpleNamespace(
        node=SimpleNamespace(listen_port=0), api=SimpleNamespace(rate_limit_rpm=0, rate_limit_admin_rpm=0)
    )
    async with (
        Library(root=tmp_path_factory.mktemp("models"), bus=bus, shard_size_mb=64) as library,
        Engine(
            limits=EngineLimits(threads=1, context_tokens=512, slots=4),
            bus=bus,
            worker_command=(sys.executable, "-m", "app", "worker"),
            clock=monotonic,
        ) as engine,
    ):
        await library.import_file(guide_model, name=GUIDE)
        router = Router(
            engine=engine,
            library=library,
            bus=bus,
            limits=RouterLimits(),
            default_model="",
            clock=monotonic,
        )
        async with ApiServer(
            router=router,
            library=library,
            engine=engine,
            settings=settings,
            api_key=API_KEY,
            session_token=SESSION_TOKEN,
            bus=bus,
            status=Node().status,
        ) as server:
            yield Running(server.url, bus)


@pytest_asyncio.fixture(loop_scope="module")
async def client(running: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key=API_KEY, max_retries=0) as client:
        yield client
    while not running.finished.empty():
        running.finished.get_nowait()


async def test_a_stream_says_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=GUIDE, messages=HELLO, temperature=0, max_tokens=40)
    stream = await client.chat.completions.create(
        model=GUIDE,
        messages=HELLO,
        temperature=0,
        max_tokens=40,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens > 0
    assert whole.model == GUIDE


async def test_logprobs_are_those_of_the_tokens(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model=GUIDE, messages=HELLO, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3
    )
    choice = completion.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    text = b"".join(bytes(entry.bytes or ()) for entry in choice.logprobs.content)
    assert text.decode() == choice.message.content
    for entry in choice.logprobs.content:
        assert entry.logprob <= 0
        assert entry.top_logprobs[0].token == entry.token


async def test_json_comes_out_where_json_is_asked_for(client: AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "size": {"enum": ["small", "large"]}},
        "required": ["ok", "size"],
        "additionalProperties": False,
    }
    completion = await client.chat.completions.create(
        model=GUIDE,
        messages=HELLO,
        max_tokens=200,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    found = json.loads(completion.choices[0].message.content or "")
    assert isinstance(found["ok"], bool)
    assert found["size"] in ("small", "large")


async def test_a_required_tool_is_called(client: AsyncOpenAI) -> None:
    tool: Any = {
        "type": "function",
        "function": {
            "name": "set_light",
            "parameters": {
                "type": "object",
                "properties": {"on": {"type": "boolean"}},
                "required": ["on"],
                "additionalProperties": False,
            },
        },
    }
    completion = await client.chat.completions.create(
        model=GUIDE, messages=HELLO, tools=[tool], tool_choice="required", max_tokens=200, temperature=0
    )
    calls: Any = completion.choices[0].message.tool_calls
    assert completion.choices[0].finish_reason == "tool_calls"
    assert calls[0].function.name == "set_light"
    assert isinstance(json.loads(calls[0].function.arguments)["on"], bool)


async def test_several_choices_and_prompts_run_side_by_side(client: AsyncOpenAI) -> None:
    completion = await client.completions.create(
        model=GUIDE, prompt=["Hello", "The node"], n=2, max_tokens=6, seed=1, echo=True
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert [choice.text.startswith("Hello") for choice in completion.choices] == [True, True, False, False]


async def test_embeddings_are_normalised(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model=GUIDE, input=["Hello", "A node"])
    for row in answer.data:
        assert sum(number * number for number in row.embedding) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"model": "none"}, openai.NotFoundError, "model_not_found"),
        ({"extra_body": {"grammar": "root ::= ("}}, openai.BadRequestError, "invalid_grammar"),
        (
            {"messages": [{"role": "user", "content": "word " * 3000}]},
            openai.BadRequestError,
            "context_length_exceeded",
        ),
    ],
)
async def test_errors_of_the_engine_keep_their_codes(
    client: AsyncOpenAI, change: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**({"model": GUIDE, "messages": HELLO} | change))
    assert caught.value.code == code


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_ends_the_generation(running: Running, client: AsyncOpenAI, stream: bool) -> None:
    begun = asyncio.Event()

    async def ask() -> None:
        made: Any = await client.chat.completions.create(
            model=GUIDE, messages=HELLO, max_tokens=400, stream=stream, extra_body={"ignore_eos": True}
        )
        async for _ in made:
            begun.set()

    task = asyncio.create_task(ask())
    if stream:
        await begun.wait()
    else:
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    finished = await asyncio.wait_for(running.finished.get(), 20)
    assert finished.outcome == "cancelled"
    assert finished.completion_tokens < 400
