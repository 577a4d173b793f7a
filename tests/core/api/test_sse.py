"""Streaming: what waits goes out together, a client that stalls is let go, nothing is lost."""

import asyncio
import json

import aiohttp
import pytest

from app.core.api.sse import MAX_WAITING, Outbox
from app.core.kernel.generation import TextDelta
from tests.support.api_router import answer, whole
from tests.support.api_server import SESSION_TOKEN, serving

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
KEY = {"Authorization": f"Bearer {SESSION_TOKEN}"}


async def test_the_taker_gets_all_that_waits() -> None:
    outbox = Outbox()
    outbox.put(b"a")
    outbox.put(b"")
    outbox.put(b"b")
    assert await outbox.take() == b"ab"
    taker = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put(b"c")
    outbox.put(b"d")
    assert await taker == b"cd"
    outbox.put(b"e")
    outbox.close()
    assert await outbox.take() == b"e"
    assert await outbox.take() == b""


async def test_a_full_box_makes_the_sender_wait_until_it_is_taken() -> None:
    outbox = Outbox()
    outbox.put(b"x" * (MAX_WAITING + 1))
    assert outbox.full
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.take()
    await waiting
    assert not outbox.full


async def test_a_long_answer_arrives_whole_and_in_order() -> None:
    texts = [f"{index} " for index in range(3000)]
    async with serving() as node, aiohttp.ClientSession(node.url) as http:
        node.router.script = whole(*answer(*texts))
        async with http.post("/v1/chat/completions", json=BODY, headers=KEY) as response:
            events = (await response.read()).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(texts)


async def test_a_client_that_takes_nothing_ends_its_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.api.sse.STALL_SECONDS", 0.1)
    async with serving() as node:
        node.router.script = whole(*[TextDelta(text="x" * 100_000)] * 400)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(node.url.rpartition(":")[2]), limit=1024
        )
        body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (SESSION_TOKEN.encode(), len(body), body)
        )
        await asyncio.wait_for(node.router.closed.wait(), 20)
        assert node.router.open == 0
        writer.transport.abort()
        assert reader.at_eof() is False
