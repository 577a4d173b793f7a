"""Whatever is sent, the answer is an error that says what is wrong, and the node goes on."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel

from app.core.api.admin.importing import ImportBody
from app.core.api.openai.schema import ChatBody, CompletionBody, EmbeddingBody
from tests.support.api_schema import wrong_bodies
from tests.support.api_server import SESSION_TOKEN, Node, serving

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "guide", "messages": [{"role": "user", "content": "Hi"}]}
ENDPOINTS: list[tuple[str, type[BaseModel]]] = [
    (CHAT, ChatBody),
    ("/v1/completions", CompletionBody),
    ("/v1/embeddings", EmbeddingBody),
    ("/api/admin/models/import", ImportBody),
]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def http(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {SESSION_TOKEN}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(node.url, headers=headers) as session:
        yield session


async def refused(response: aiohttp.ClientResponse, status: int = 400) -> dict[str, Any]:
    """The error of an answer in OpenAI's shape."""
    body = await response.json()
    assert response.status == status, body
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(("path", "model"), ENDPOINTS)
async def test_every_wrong_type_in_every_field_is_refused_by_name(
    node: Node, http: aiohttp.ClientSession, path: str, model: type[BaseModel]
) -> None:
    cases = list(wrong_bodies(model))
    assert len(cases) > 10
    for what, body in cases:
        async with http.post(path, json=body) as response:
            error = await refused(response)
            first = what.removeprefix(".").split(" ")[0].split(".")[0].replace("[]", "")
            assert error["param"].split(".")[0].split("[")[0] == first, (what, error)
    async with http.get("/health/ready") as response:
        assert response.status == 200
    assert not node.router.requests


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"model": "m" * 257}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        "messages[0].content[0]",
    ),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"frequency_penalty": 2.5}, "frequency_penalty"),
    ({"presence_penalty": -2.5}, "presence_penalty"),
    ({"n": 0}, "n"),
    ({"n": 10**6}, "n"),
    ({"stop": ""}, "stop"),
    ({"stop": "x" * 257}, "stop"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"logit_bias": {"one": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"seed": 2**70}, "seed"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 129}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "no blanks"}}]}, "tools[0].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
    ({"functions": []}, "functions"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_object"}, "grammar": "root ::= x"}, "grammar"),
]


@pytest.mark.parametrize(("change", "param"), WRONG_VALUES, ids=lambda value: str(value)[:40])
async def test_a_value_out_of_bounds_is_refused_by_name(
    http: aiohttp.ClientSession, change: dict[str, Any], param: str
) -> None:
    async with http.post(CHAT, json=HELLO | change) as response:
        error = await refused(response)
    assert error["param"].startswith(param)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(("max_tokens", "clamped"), [(-1, 1), (0, 1), (5, 5), (10**12, 32_768)])
async def test_max_tokens_is_clamped(
    node: Node, http: aiohttp.ClientSession, max_tokens: int, clamped: int
) -> None:
    async with http.post(CHAT, json=HELLO | {"max_tokens": max_tokens}) as response:
        assert response.status == 200
    assert node.router.last.sampling.max_tokens == clamped


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"model": NaN}',
        b"\xff\xfe{}",
        b'{"model": "\\ud800"}',
        b"[" * 100_000,
        b'{"model":' * 100_000,
        b'{"seed": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:16]),
)
async def test_what_is_no_json_object_is_refused(http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post(CHAT, data=body) as response:
        assert (await refused(response))["code"] == "invalid_json"


async def test_another_media_type_is_refused(http: aiohttp.ClientSession) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with http.post(CHAT, data=json.dumps(HELLO), headers=form) as response:
        assert (await refused(response, 415))["code"] == "unsupported_media_type"


async def test_unknown_addresses_and_methods_are_refused(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/nothing") as response:
        assert (await refused(response, 404))["code"] == "unknown_url"
    async with http.get(CHAT) as response:
        assert (await refused(response, 405))["code"] == "method_not_allowed"
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("announced", [True, False])
async def test_33_mb_are_refused_and_the_node_goes_on(
    node: Node, http: aiohttp.ClientSession, announced: bool
) -> None:
    part = b"x" * (1 << 20)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield part

    async with http.post(CHAT, data=BytesIO(part * 33) if announced else parts()) as response:
        assert (await refused(response, 413))["code"] == "request_too_large"
    assert not node.router.requests
    async with http.post(CHAT, json=HELLO) as response:
        assert response.status == 200


async def test_a_large_body_within_the_limit_is_read(node: Node, http: aiohttp.ClientSession) -> None:
    text = "x" * (20 << 20)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
    async with http.post(CHAT, data=BytesIO(body.encode())) as response:
        assert response.status == 200
    assert node.router.last.messages[0].content == text


@pytest.mark.parametrize(
    ("field", "item"),
    [("messages", "1"), ("messages", "{}"), ("stop", "1"), ("tools", "null"), ("unknown", "[]")],
)
async def test_millions_of_values_are_refused_before_they_take_memory(
    http: aiohttp.ClientSession, field: str, item: str
) -> None:
    body = f'{{"{field}": [{",".join([item] * 1_000_001)}]}}'
    async with http.post(CHAT, data=BytesIO(body.encode())) as response:
        assert "values" in (await refused(response, 413))["message"]


@pytest.mark.parametrize("field", ["logit_bias", "chat_template_kwargs"])
async def test_an_object_with_many_wrong_members_is_refused_at_once(
    http: aiohttp.ClientSession, field: str
) -> None:
    members = dict.fromkeys(map(str, range(5000)))
    async with http.post(CHAT, json=HELLO | {field: members}) as response:
        assert (await refused(response))["param"] == field


async def test_a_compressed_body_counts_unpacked(node: Node, http: aiohttp.ClientSession) -> None:
    bomb = gzip.compress(b" " * (200 << 20), 1)
    async with http.post(CHAT, data=BytesIO(bomb), headers={"Content-Encoding": "gzip"}) as response:
        assert (await refused(response, 413))["code"] == "request_too_large"
    packed = gzip.compress(json.dumps(HELLO).encode())
    async with http.post(CHAT, data=packed, headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 200


async def test_a_body_that_does_not_arrive_is_not_waited_for(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.api.body.READ_SECONDS", 0.05)
    never = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with http.post(CHAT, data=slow()) as response:
        assert (await refused(response, 408))["code"] == "request_timeout"


HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SESSION_TOKEN}\r\n".encode()
JSON_HEAD = HEAD + b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (JSON_HEAD + b"Content-Length: 100\r\n\r\n{", None),
        (JSON_HEAD + b"Content-Length: -5\r\n\r\n{", 400),
        (JSON_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (JSON_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nxxxx", 400),
        (HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 400),
        (HEAD + b"X: y\r\n" * 500 + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value)[-30:],
)
async def test_broken_http_harms_nobody_else(
    node: Node, http: aiohttp.ClientSession, sent: bytes, status: int | None
) -> None:
    port = int(node.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    if status is None:
        writer.write_eof()
    line = await asyncio.wait_for(reader.readline(), 20)
    assert line.split()[1:2] == ([] if status is None else [str(status).encode()])
    writer.transport.abort()
    async with http.post(CHAT, json=HELLO) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["relative.gguf", "/none/such.gguf", "/tmp\0x", "/"])
async def test_only_a_file_that_exists_can_be_imported(http: aiohttp.ClientSession, path: str) -> None:
    async with http.post("/api/admin/models/import", json={"path": path}) as response:
        error = await refused(response, 404 if path.startswith("/") and "\0" not in path else 400)
    assert error["param"] == "path"
