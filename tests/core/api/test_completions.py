"""Legacy completions and embeddings as the official openai package sees them."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from app.core.kernel.errors import WorkerCrashed
from app.core.kernel.generation import AlternativeToken, Finished, TextDelta, TokenLogprob
from tests.support.api_router import answer, whole
from tests.support.api_server import API_KEY, Node, serving


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=node.v1, api_key=API_KEY, max_retries=0) as client:
        yield client


async def test_text_goes_on(node: Node, client: AsyncOpenAI) -> None:
    completion = await client.completions.create(model="guide", prompt="Once", max_tokens=5, echo=True)
    assert completion.object == "text_completion"
    assert completion.model == "guide"
    choice = completion.choices[0]
    assert (choice.text, choice.finish_reason, choice.logprobs) == ("Hello", "stop", None)
    assert completion.usage is not None
    assert completion.usage.total_tokens == 9
    assert node.router.last.prompt == "Once"
    assert node.router.last.echo is True


async def test_it_streams(client: AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model="guide", prompt="Once", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == ["Hel", "lo", ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
async def test_each_prompt_has_its_choices_in_order(node: Node, client: AsyncOpenAI, stream: bool) -> None:
    node.router.script = whole(*answer("a", choice=0), *answer("b", choice=1))
    texts = dict.fromkeys(range(6), "")
    if stream:
        async for chunk in await client.completions.create(
            model="guide", prompt=["x", "y", "z"], n=2, stream=True
        ):
            texts[chunk.choices[0].index] += chunk.choices[0].text
    else:
        completion = await client.completions.create(model="guide", prompt=["x", "y", "z"], n=2)
        texts = {choice.index: choice.text for choice in completion.choices}
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == 21
    assert texts == {0: "a", 1: "b", 2: "a", 3: "b", 4: "a", 5: "b"}
    assert {request.prompt for request in node.router.requests} == {"x", "y", "z"}  # type: ignore[union-attr]


async def test_prompts_may_be_tokens(node: Node, client: AsyncOpenAI) -> None:
    await client.completions.create(model="guide", prompt=[1, 2, 3])
    assert node.router.last.prompt == (1, 2, 3)
    await client.completions.create(model="guide", prompt=[[1, 2], [3]])
    assert {request.prompt for request in node.router.requests[1:]} == {(1, 2), (3,)}  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_have_the_legacy_shape(node: Node, client: AsyncOpenAI, stream: bool) -> None:
    first = TokenLogprob(
        1, b"He", -0.25, (AlternativeToken(1, b"He", -0.25), AlternativeToken(2, b"Yo", -2.0))
    )
    second = TokenLogprob(3, b"llo", -0.5, ())
    node.router.script = whole(
        TextDelta(text="He", logprobs=(first,)),
        TextDelta(text="llo", logprobs=(second,)),
        Finished(reason="stop"),
    )
    if stream:
        events = await client.completions.create(
            model="guide", prompt="x", logprobs=2, echo=True, stream=True
        )
        parts = [chunk.choices[0].logprobs async for chunk in events if chunk.choices[0].logprobs]
        tokens = [token for part in parts for token in part.tokens or ()]
        offsets = [offset for part in parts for offset in part.text_offset or ()]
    else:
        completion = await client.completions.create(model="guide", prompt="x", logprobs=2, echo=True)
        logprobs = completion.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.token_logprobs == [-0.25, -0.5]
        assert logprobs.top_logprobs == [{"He": -0.25, "Yo": -2.0}, {}]
        tokens, offsets = logprobs.tokens or [], logprobs.text_offset or []
    assert (tokens, offsets) == (["He", "llo"], [1, 3])
    assert node.router.last.sampling.logprobs == 2


async def test_an_error_of_one_prompt_ends_the_others(node: Node, client: AsyncOpenAI) -> None:
    node.router.script = [WorkerCrashed("The worker ended.")]
    with pytest.raises(openai.InternalServerError, match="The worker ended"):
        await client.completions.create(model="guide", prompt=["a", "b"])
    assert node.router.open == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_ends_all_prompts(node: Node, client: AsyncOpenAI, stream: bool) -> None:
    node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]

    async def ask() -> None:
        made = await client.completions.create(model="guide", prompt=["a", "b"], stream=stream)
        if stream:
            async for _ in made:  # type: ignore[union-attr]
                pass

    task = asyncio.create_task(ask())
    await node.router.opened.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(node.router.closed.wait(), 10)
    await asyncio.sleep(0)
    assert node.router.open == 0


@pytest.mark.parametrize("field", [{"suffix": "end"}, {"best_of": 3}])
async def test_what_cannot_be_done_is_said(client: AsyncOpenAI, field: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(model="guide", prompt="x", extra_body=field)
    assert caught.value.code == "unsupported"


async def test_embeddings_come_in_base64_as_the_package_asks_and_as_numbers(
    node: Node, client: AsyncOpenAI
) -> None:
    packed = await client.embeddings.create(model="guide", input=["a", "b"])
    plain = await client.embeddings.create(model="guide", input="a", encoding_format="float")
    assert [row.embedding for row in packed.data] == [[0.0, 0.5, -0.25], [1.0, 0.5, -0.25]]
    assert plain.data[0].embedding == [0.0, 0.5, -0.25]
    assert [row.index for row in packed.data] == [0, 1]
    assert packed.usage.prompt_tokens == 5
    await client.embeddings.create(model="guide", input=[[1, 2], [3]], dimensions=3)
    assert node.router.last.inputs == ((1, 2), (3,))


@pytest.mark.parametrize(
    ("field", "param"),
    [({"dimensions": 2}, "dimensions"), ({"input": ""}, "input"), ({"input": []}, "input")],
)
async def test_embeddings_that_cannot_be_made_are_refused(
    client: AsyncOpenAI, field: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="guide", input="a", extra_body=field)
    assert caught.value.param == param
