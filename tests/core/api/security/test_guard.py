"""The door of a running server: keys, hosts, origins, rates, headers, connections, and what is logged."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import openai
import pytest

from app.client import Client
from app.client.types import Message
from tests.support.api_router import answer, whole
from tests.support.api_server import API_KEY, SESSION_TOKEN, Node, serving

KEY = {"Authorization": f"Bearer {API_KEY}"}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def http(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(node.url) as session:
        yield session


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {API_KEY[:-1]}",
        f"Basic {API_KEY}",
        API_KEY,
        f"Bearer {API_KEY} x",
        "Bearer \udcff",
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/status", "/api/admin/api-key", "/nothing"])
async def test_without_the_key_nothing_is_told(
    http: aiohttp.ClientSession, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with http.get(path, headers=headers) as response:
        assert response.status == 401
        error = (await response.json())["error"]
    assert error["code"] == "invalid_api_key"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert API_KEY not in error["message"]


@pytest.mark.parametrize(
    "path", ["//health", "/health/", "/health%2Fready", "/v1/../health", "/health/../v1/models", "/health;x"]
)
async def test_no_way_of_writing_a_path_opens_another(node: Node, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b" 401 " in await reader.readline()
    writer.transport.abort()


async def test_a_path_cannot_forge_lines_of_the_log(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with http.get("/v1/x%0Aerror%1B[31m", headers=KEY) as response:
        assert response.status == 404
        assert "\n" not in (await response.json())["error"]["message"]
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


async def test_both_keys_open(http: aiohttp.ClientSession) -> None:
    for key in (API_KEY, SESSION_TOKEN):
        async with http.get("/v1/models", headers={"Authorization": f"bearer {key}"}) as response:
            assert response.status == 200


async def test_the_openai_package_calls_a_wrong_key_an_authentication_error(node: Node) -> None:
    async with openai.AsyncOpenAI(base_url=node.v1, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
async def test_web_pages_and_rebound_names_are_kept_out(http: aiohttp.ClientSession, path: str) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ):
        async with http.get(path, headers=KEY | headers) as response:
            assert response.status == 403
            assert (await response.json())["error"]["code"] == "forbidden"
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_preflight_of_another_site_is_refused(http: aiohttp.ClientSession) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    async with http.options("/v1/chat/completions", headers=headers) as response:
        assert response.status == 403


async def test_an_allowed_page_may_ask_with_the_key() -> None:
    page = {"Origin": "app://obsidian.md"}
    preflight = page | {"Access-Control-Request-Method": "POST"}
    async with (
        serving(allowed_origins=["app://obsidian.md"]) as node,
        aiohttp.ClientSession(node.url) as http,
    ):
        async with http.options("/v1/chat/completions", headers=preflight) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "app://obsidian.md"
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with http.get("/v1/models", headers=page | KEY) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "app://obsidian.md"
        async with http.get("/v1/models", headers=page) as response:
            assert response.status == 401
        async with http.options(
            "/v1/chat/completions", headers=preflight | {"Host": "evil.example"}
        ) as response:
            assert response.status == 403


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/none", "/metrics"])
async def test_every_answer_carries_the_security_headers(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        headers = response.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert len(headers["X-Request-Id"]) == 32
    assert "Server" not in headers


async def test_streams_carry_them_too(node: Node, http: aiohttp.ClientSession) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with http.post("/v1/chat/completions", headers=KEY, json=body) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.content_type == "text/event-stream"
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_the_key_is_limited_and_the_session_is_not() -> None:
    now = 1000.0
    async with (
        serving(rpm=3, admin_rpm=2, clock=lambda: now) as node,
        aiohttp.ClientSession(node.url) as http,
    ):
        for path, times in (("/v1/models", 3), ("/api/admin/stats", 2)):
            for _ in range(times):
                async with http.get(path, headers=KEY) as response:
                    assert response.status == 200
            async with http.get(path, headers=KEY) as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == ("20" if times == 3 else "30")
                assert (await response.json())["error"]["code"] == "rate_limit_exceeded"
            async with http.get(path, headers={"Authorization": f"Bearer {SESSION_TOKEN}"}) as response:
                assert response.status == 200
        async with openai.AsyncOpenAI(base_url=node.v1, api_key=API_KEY, max_retries=0) as client:
            with pytest.raises(openai.RateLimitError):
                await client.models.list()
        now += 20
        async with http.get("/v1/models", headers=KEY) as response:
            assert response.status == 200


async def test_requests_without_a_key_do_not_use_up_the_users() -> None:
    async with serving(rpm=2, clock=lambda: 1.0) as node, aiohttp.ClientSession(node.url) as http:
        found = []
        for _ in range(4):
            async with http.get("/v1/models") as response:
                found.append(response.status)
        async with http.get("/v1/models", headers=KEY) as response:
            found.append(response.status)
    assert found == [401, 401, 429, 429, 200]


async def test_neither_keys_nor_prompts_are_logged(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Client(node.url, API_KEY) as client:
        async for _ in client.chat([Message("user", "my secret prompt")]):
            pass
    async with (
        aiohttp.ClientSession(node.url) as http,
        http.get("/v1/models?key=in-query", headers=KEY) as response,
    ):
        request_id = response.headers["X-Request-Id"]
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("app.")]
    assert any("POST /v1/chat/completions 200" in line for line in lines)
    assert any("GET /v1/models 200" in line and request_id in line for line in lines)
    assert not [line for line in lines if API_KEY in line or "secret prompt" in line or "in-query" in line]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for a few thousand sockets in this process."""
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 6000 if hard == resource.RLIM_INFINITY else min(6000, hard)
    if wanted < 6000:
        pytest.skip(f"this machine allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_thousands_of_idle_connections_keep_nobody_out() -> None:
    async with serving() as node:
        node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
        port = int(node.url.rpartition(":")[2])
        async with Client(node.url, SESSION_TOKEN) as client:
            running = client.chat([Message("user", "Hi")])
            await anext(running)
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2000)]
            for _, writer in opened[::2]:
                writer.write(b"GET /v1/models HT")
            async with Client(node.url, SESSION_TOKEN) as other:
                assert [model.id for model in await other.models()] == ["guide"]
            assert await opened[0][0].read() == b""
            assert node.router.open == 1
            for _, writer in opened:
                writer.transport.abort()
            await running.aclose()


async def test_a_head_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.api.server.KEEPALIVE_SECONDS", 0.2)
    async with serving() as node:
        port = int(node.url.rpartition(":")[2])
        silent, _silent = await asyncio.open_connection("127.0.0.1", port)
        slow, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: lo")
        assert await asyncio.wait_for(silent.read(), 20) == b""
        assert await asyncio.wait_for(slow.read(), 20) == b""
        _silent.close()
        writer.close()


async def test_where_all_are_busy_the_next_is_told_so() -> None:
    async with serving(connections=2) as node:
        node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
        async with Client(node.url, SESSION_TOKEN) as client:
            streams = [client.chat([Message("user", "Hi")]) for _ in range(2)]
            for stream in streams:
                await anext(stream)
            async with aiohttp.ClientSession(node.url) as http, http.get("/health") as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert (await response.json())["error"]["code"] == "overloaded"
            for stream in streams:
                await stream.aclose()


async def test_stopping_ends_what_is_running() -> None:
    async with serving() as node:
        node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
        client = Client(node.url, SESSION_TOKEN)
        await client.__aenter__()
        stream = client.chat([Message("user", "Hi")])
        await anext(stream)
    assert node.router.closed.is_set()
    await stream.aclose()
    await client.__aexit__(None, None, None)
