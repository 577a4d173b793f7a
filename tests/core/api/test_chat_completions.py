"""Chat completions as the official openai package sees them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from app.core.kernel.errors import (
    ContextOverflow,
    ModelNotFound,
    Overloaded,
    SwarmError,
    WorkerCrashed,
)
from app.core.kernel.generation import (
    AlternativeToken,
    Finished,
    Gbnf,
    JsonObject,
    JsonSchema,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from tests.support.api_router import answer, whole
from tests.support.api_server import API_KEY, Node, serving

HELLO: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=node.v1, api_key=API_KEY, max_retries=0) as client:
        yield client


async def test_an_answer_has_text_reason_usage_and_timings(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model="guide", messages=HELLO)
    choice = completion.choices[0]
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "guide"
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello")
    assert choice.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 9
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 3
    assert completion.timings["predicted_per_second"] == 8.0  # type: ignore[attr-defined]


async def test_a_stream_brings_role_texts_and_reason(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="guide", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert [delta.content for delta in deltas[1:3]] == ["Hel", "lo"]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_comes_last_in_a_stream_that_asks_for_it(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="guide", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *others, last = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in others)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices_keep_apart(node: Node, client: AsyncOpenAI, stream: bool) -> None:
    node.router.script = whole(
        TextDelta(text="a", choice=0),
        TextDelta(text="b", choice=1),
        TextDelta(text="A", choice=0),
        Finished(reason="length", choice=1),
        Finished(reason="stop", choice=0),
    )
    if stream:
        texts, reasons = {0: "", 1: ""}, {}
        async for chunk in await client.chat.completions.create(
            model="guide", messages=HELLO, n=2, stream=True
        ):
            choice = chunk.choices[0]
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    else:
        completion = await client.chat.completions.create(model="guide", messages=HELLO, n=2)
        texts = {choice.index: choice.message.content for choice in completion.choices}
        reasons = {choice.index: choice.finish_reason for choice in completion.choices}
    assert texts == {0: "aA", 1: "b"}
    assert reasons == {0: "stop", 1: "length"}
    assert node.router.last.n == 2


TOOL_CHUNKS = whole(
    ToolCallDelta(call=0, id="call_1", name="get_weather", arguments='{"city":'),
    ToolCallDelta(call=0, arguments='"Paris"}'),
    ToolCallDelta(call=1, id="call_2", name="get_weather", arguments="{}"),
    Finished(reason="tool_calls"),
)


async def test_tool_calls_come_back_whole(node: Node, client: AsyncOpenAI) -> None:
    node.router.script = TOOL_CHUNKS
    completion = await client.chat.completions.create(
        model="guide", messages=HELLO, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    calls: Any = choice.message.tool_calls
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("call_1", '{"city":"Paris"}'),
        ("call_2", "{}"),
    ]
    request = node.router.last
    assert request.tool_choice.mode == "required"
    assert request.parallel_tool_calls is False
    assert request.tools[0].name == "get_weather"
    assert '"city"' in request.tools[0].parameters


async def test_the_openai_stream_helper_puts_tool_calls_together(node: Node, client: AsyncOpenAI) -> None:
    node.router.script = TOOL_CHUNKS
    async with client.chat.completions.stream(model="guide", messages=HELLO, tools=[WEATHER]) as stream:
        completion = await stream.get_final_completion()
    calls: Any = completion.choices[0].message.tool_calls
    assert [call.function.arguments for call in calls] == ['{"city":"Paris"}', "{}"]


async def test_reasoning_is_apart_from_the_answer(node: Node, client: AsyncOpenAI) -> None:
    node.router.script = whole(ReasoningDelta(text="hm"), ReasoningDelta(text="m"), *answer("42"))
    completion = await client.chat.completions.create(model="guide", messages=HELLO)
    message: Any = completion.choices[0].message
    assert (message.reasoning_content, message.content) == ("hmm", "42")
    stream = await client.chat.completions.create(model="guide", messages=HELLO, stream=True)
    thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) async for chunk in stream]
    assert [thought for thought in thoughts if thought] == ["hm", "m"]


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_have_tokens_bytes_and_alternatives(
    node: Node, client: AsyncOpenAI, stream: bool
) -> None:
    token = TokenLogprob(
        5, b"\xe2\x82", -0.5, (AlternativeToken(6, b"x", -1.5), AlternativeToken(7, b"y", float("-inf")))
    )
    node.router.script = whole(TextDelta(text="?", logprobs=(token,)), Finished(reason="stop"))
    if stream:
        events = await client.chat.completions.create(
            model="guide", messages=HELLO, logprobs=True, top_logprobs=2, stream=True
        )
        found = [chunk.choices[0].logprobs async for chunk in events if chunk.choices[0].logprobs]
        logprobs = found[0]
    else:
        completion = await client.chat.completions.create(
            model="guide", messages=HELLO, logprobs=True, top_logprobs=2
        )
        logprobs = completion.choices[0].logprobs  # type: ignore[assignment]
    assert logprobs.content is not None
    entry = logprobs.content[0]
    assert (entry.token, entry.bytes, entry.logprob) == ("\ufffd", [0xE2, 0x82], -0.5)
    assert [other.logprob for other in entry.top_logprobs] == [-1.5, -9999.0]
    assert node.router.last.sampling.logprobs == 2


async def test_every_option_reaches_the_request(node: Node, client: AsyncOpenAI) -> None:
    await client.chat.completions.create(
        model="guide",
        messages=[
            {
                "role": "developer",
                "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief"}],
            },
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        temperature=0,
        top_p=0.5,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=-5,
        logit_bias={"17": -100},
        stop=["a", "b"],
        max_completion_tokens=10**9,
        reasoning_effort="none",
        user="somebody",
        extra_body={
            "top_k": 7,
            "min_p": 0.1,
            "typical_p": 0.9,
            "repeat_penalty": 1.1,
            "repeat_last_n": 3,
            "ignore_eos": True,
            "session_id": "s1",
            "chat_template_kwargs": {"style": "dry"},
            "what_nobody_knows": [1],
        },
    )
    request = node.router.last
    sampling = request.sampling
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[0].content == "Be brief"
    assert request.messages[2].tool_calls[0].name == "f"
    assert request.messages[3].tool_call_id == "c1"
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0, 0.5, 7)
    assert (sampling.min_p, sampling.typical_p, sampling.repeat_penalty) == (0.1, 0.9, 1.1)
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (1, -1)
    assert (sampling.repeat_last_n, sampling.ignore_eos) == (3, True)
    assert sampling.seed is not None
    assert 0 <= sampling.seed < 2**32
    assert sampling.logit_bias == {17: -100.0}
    assert sampling.stop == ("a", "b")
    assert sampling.max_tokens == 32_768
    assert request.session_id == "s1"
    assert request.template_options == {"reasoning_effort": "none", "enable_thinking": False, "style": "dry"}


async def test_response_formats_become_grammars(node: Node, client: AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    await client.chat.completions.create(
        model="guide", messages=HELLO, response_format={"type": "json_object"}
    )
    assert node.router.last.sampling.grammar == JsonObject()
    await client.chat.completions.create(
        model="guide",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    assert isinstance(node.router.last.sampling.grammar, JsonSchema)
    assert '"integer"' in node.router.last.sampling.grammar.schema
    await client.chat.completions.create(
        model="guide", messages=HELLO, extra_body={"grammar": 'root ::= "yes"'}
    )
    assert node.router.last.sampling.grammar == Gbnf('root ::= "yes"')


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ModelNotFound("There is no such model."), openai.NotFoundError, "model_not_found"),
        (ContextOverflow("Too long."), openai.BadRequestError, "context_length_exceeded"),
        (Overloaded("Busy."), openai.InternalServerError, "overloaded"),
        (WorkerCrashed("It crashed."), openai.InternalServerError, "worker_crashed"),
        (SwarmError("It failed."), openai.InternalServerError, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_those_of_the_openai_package(
    node: Node,
    client: AsyncOpenAI,
    error: SwarmError,
    kind: type[openai.APIStatusError],
    code: str,
    stream: bool,
) -> None:
    node.router.script = [error]
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="guide", messages=HELLO, stream=stream)
    assert caught.value.code == code
    assert error.message in caught.value.message
    if isinstance(error, Overloaded):
        assert caught.value.response.headers["Retry-After"] == "1"


async def test_an_error_after_the_stream_began_is_an_event(node: Node, client: AsyncOpenAI) -> None:
    node.router.script = [*whole(*answer("Hel"))[:2], WorkerCrashed("The worker ended.")]
    stream = await client.chat.completions.create(model="guide", messages=HELLO, stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert (await anext(stream)).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="The worker ended") as caught:
        await anext(stream)
    assert caught.value.code == "worker_crashed"


@pytest.mark.logs_errors
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_is_a_500_that_tells_nothing(node: Node, client: AsyncOpenAI, stream: bool) -> None:
    node.router.script = [ZeroDivisionError("private detail")]
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="guide", messages=HELLO, stream=stream)
    assert "private" not in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_ends_the_generation(
    node: Node, client: AsyncOpenAI, stream: bool
) -> None:
    never = asyncio.Event()
    node.router.script = [*whole(*answer("Hel"))[:2], never]

    async def ask() -> None:
        if not stream:
            await client.chat.completions.create(model="guide", messages=HELLO)
            return
        async for _ in await client.chat.completions.create(model="guide", messages=HELLO, stream=True):
            pass

    task = asyncio.create_task(ask())
    await node.router.opened.wait()
    assert not node.router.closed.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(node.router.closed.wait(), 10)
    assert node.router.open == 0


async def test_the_blocking_client_works_too(node: Node) -> None:
    def ask() -> str:
        with openai.OpenAI(base_url=node.v1, api_key=API_KEY) as client:
            stream = client.chat.completions.create(model="guide", messages=HELLO, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == "Hello"
