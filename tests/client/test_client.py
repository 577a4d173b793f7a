"""The typed client against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.client import Client, ClientError, find_node
from app.client.types import Finished, Message, Options, Reasoning, Text, ToolCallPart, Usage
from app.core.kernel.errors import BadModelFile, ContextOverflow, WorkerCrashed
from app.core.kernel.events import RequestFinished
from app.core.kernel.generation import Finished as Done
from app.core.kernel.generation import ReasoningDelta, ToolCallDelta
from tests.support.api_router import answer, whole
from tests.support.api_server import API_KEY, SESSION_TOKEN, Node, serving

HELLO = [Message("user", "Hi")]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[Client]:
    async with Client(node.url, SESSION_TOKEN) as client:
        yield client


async def test_status_and_models_are_typed(client: Client) -> None:
    status = await client.status()
    assert (status.version, status.ready, status.secrets_backend) == ("0.1.0", True, "file")
    assert status.warnings == ("Secrets lie in plain files.",)
    assert [model.id for model in await client.models()] == ["guide"]


async def test_a_chat_is_texts_a_reason_and_usage(node: Node, client: Client) -> None:
    found = [delta async for delta in client.chat(HELLO, model="guide", options=Options(temperature=0.0))]
    assert found[:3] == [Text("Hel"), Text("lo"), Finished("stop")]
    usage = found[3]
    assert isinstance(usage, Usage)
    assert (usage.model, usage.prompt_tokens, usage.cached_tokens) == ("guide", 7, 3)
    assert usage.tokens_per_second == 8.0
    assert node.router.last.sampling.temperature == 0.0
    assert node.router.last.messages[0].content == "Hi"


async def test_a_long_conversation_is_sent_whole(node: Node, client: Client) -> None:
    text = "x" * (3 << 20)
    async for _ in client.chat([Message("user", text)]):
        pass
    assert node.router.last.messages[0].content == text


async def test_reasoning_and_tool_calls_come_as_deltas(node: Node, client: Client) -> None:
    node.router.script = whole(
        ReasoningDelta(text="hm"),
        ToolCallDelta(call=0, id="c1", name="f", arguments="{"),
        ToolCallDelta(call=0, arguments="}"),
        Done(reason="tool_calls"),
    )
    found = [delta async for delta in client.chat(HELLO)]
    assert found[:4] == [
        Reasoning("hm"),
        ToolCallPart(0, "{", "c1", "f"),
        ToolCallPart(0, "}"),
        Finished("tool_calls"),
    ]


async def test_an_error_has_code_status_and_sentence(node: Node, client: Client) -> None:
    node.router.script = [ContextOverflow("The conversation is too long.")]
    with pytest.raises(ClientError) as caught:
        await anext(client.chat(HELLO))
    error = caught.value
    assert (error.code, error.status) == ("context_length_exceeded", 400)
    assert str(error) == "The conversation is too long."


async def test_an_error_in_mid_stream_is_raised_after_the_text(node: Node, client: Client) -> None:
    node.router.script = [*whole(*answer("Hel"))[:2], WorkerCrashed("The worker ended.")]
    stream = client.chat(HELLO)
    assert await anext(stream) == Text("Hel")
    with pytest.raises(ClientError, match="The worker ended"):
        await anext(stream)


async def test_closing_the_iterator_ends_the_generation(node: Node, client: Client) -> None:
    node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
    stream = client.chat(HELLO)
    assert await anext(stream) == Text("Hel")
    assert (await client.status()).requests.running == 1
    await stream.aclose()
    await asyncio.wait_for(node.router.closed.wait(), 10)


async def test_a_node_that_stops_in_mid_answer_is_a_lost_connection() -> None:
    async with serving() as node:
        node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
        client = Client(node.url, SESSION_TOKEN)
        await client.__aenter__()
        stream = client.chat(HELLO)
        await anext(stream)
    with pytest.raises(ClientError) as caught:
        await anext(stream)
    assert caught.value.code == "connection_lost"
    with pytest.raises(ClientError, match="No node is running") as caught:
        await client.status()
    assert caught.value.code == "not_running"
    await client.__aexit__(None, None, None)


async def test_silence_is_a_timeout(node: Node) -> None:
    node.router.script = [asyncio.Event()]
    async with Client(node.url, SESSION_TOKEN, silence=0.05) as client:
        with pytest.raises(ClientError) as caught:
            await anext(client.chat(HELLO))
    assert caught.value.code == "timeout"


async def test_text_is_completed(node: Node, client: Client) -> None:
    found = [delta async for delta in client.complete("Once", options=Options(max_tokens=3, stop=("x",)))]
    assert found[:3] == [Text("Hel"), Text("lo"), Finished("stop")]
    assert node.router.last.prompt == "Once"
    assert node.router.last.sampling.stop == ("x",)


async def test_texts_are_embedded(client: Client) -> None:
    assert await client.embed(["a", "b"]) == [[0.0, 0.5, -0.25], [1.0, 0.5, -0.25]]


async def test_a_model_comes_is_loaded_and_goes(node: Node, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF")
    fractions: list[float] = []
    model = await client.add_model(file, name="Tiny one", progress=fractions.append)
    assert (model.id, model.name, fractions) == ("tiny", "Tiny one", [0.5, 1.0])
    await client.load_model("tiny")
    assert [model.id for model in await client.library() if model.loaded] == ["tiny"]
    await client.unload_model("tiny")
    assert node.engine.models == {}
    await client.load_model("tiny")
    await client.remove_model("tiny")
    assert [model.id for model in await client.library()] == ["guide"]
    assert node.engine.models == {}
    for name in ("org/none", "gui"):
        with pytest.raises(ClientError) as caught:
            await client.remove_model(name)
        assert caught.value.code == "model_not_found"


async def test_a_failed_import_is_the_nodes_error(node: Node, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(b"GGUF")
    node.library.failure = BadModelFile("The file is damaged.")
    with pytest.raises(ClientError, match="The file is damaged") as caught:
        await client.add_model(file)
    assert caught.value.code == "bad_model_file"
    with pytest.raises(ClientError, match="There is no file") as caught:
        await client.add_model(tmp_path / "none.gguf")
    assert caught.value.status == 404


async def test_the_owner_sees_key_options_and_stats_and_may_stop_the_node(node: Node, client: Client) -> None:
    assert await client.api_key() == API_KEY
    assert [row.key for row in await client.config()] == ["node.listen_port"]
    node.bus.publish(
        RequestFinished(model="guide", seconds=0.3, prompt_tokens=5, completion_tokens=7, outcome="ok")
    )
    stats = await client.stats()
    assert (stats.inference.requests, stats.inference.outcomes) == (1, {"ok": 1})
    assert stats.hardware.memory_bytes > 0
    await client.shutdown()
    assert node.stopping.is_set()


async def test_a_wrong_token_is_an_error_of_the_node(node: Node) -> None:
    async with Client(node.url, "wrong") as client:
        with pytest.raises(ClientError) as caught:
            await client.status()
    assert (caught.value.code, caught.value.status) == ("invalid_api_key", 401)


async def test_what_is_no_node_is_told_apart() -> None:
    async def page(_request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        return aiohttp.web.Response(text="<html>")

    server = await asyncio.get_running_loop().create_server(aiohttp.web.Server(page), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Client(f"http://127.0.0.1:{port}", "t") as client:
        for call in (client.status(), anext(client.chat(HELLO))):
            with pytest.raises(ClientError) as caught:
                await call
            assert caught.value.code in ("bad_answer", "connection_lost")


def test_a_node_is_found_by_its_file(tmp_path: Path) -> None:
    assert find_node(tmp_path) is None
    file = tmp_path / "runtime.json"
    file.write_text(json.dumps({"pid": 5, "url": "http://127.0.0.1:8800", "token": "secret", "version": "1"}))
    found = find_node(tmp_path)
    assert found is not None
    assert (found.pid, found.url, found.token) == (5, "http://127.0.0.1:8800", "secret")
    assert "secret" not in repr(found)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "5"}', '{"pid":1,"url":"file:///x","token":"t"}'])
def test_a_damaged_file_names_no_node(tmp_path: Path, text: str) -> None:
    (tmp_path / "runtime.json").write_text(text)
    assert find_node(tmp_path) is None
