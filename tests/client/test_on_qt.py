"""Client and server on the loop of the windowed app, where both run in one process."""

import asyncio
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from app.client import Client, ClientError
from app.client.types import Message, Text
from app.ui.loop import QtEventLoop
from tests.support.api_router import answer, whole
from tests.support.api_server import SESSION_TOKEN, serving

HELLO = [Message("user", "Hi")]


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[QtEventLoop]:
    event_loop = QtEventLoop(qapp)
    yield event_loop
    event_loop.run_until_complete(event_loop.shutdown_asyncgens())
    event_loop.close()


def test_chats_stream_and_end_when_closed(loop: QtEventLoop) -> None:
    async def chat() -> None:
        async with serving() as node, Client(node.url, SESSION_TOKEN) as client:
            node.router.script = whole(*answer(*["word "] * 300))
            chats = [[delta async for delta in client.chat(HELLO)] for _ in range(4)]
            assert all(sum(isinstance(delta, Text) for delta in found) == 300 for found in chats)
            node.router.closed.clear()
            node.router.script = [*whole(*answer("Hel"))[:2], asyncio.Event()]
            stream = client.chat(HELLO)
            assert await anext(stream) == Text("Hel")
            await stream.aclose()
            await asyncio.wait_for(node.router.closed.wait(), 10)

    loop.run_until_complete(chat())


def test_errors_are_the_same_as_on_asyncio(loop: QtEventLoop) -> None:
    async def fail() -> str:
        async with serving() as node:
            url = node.url
        async with Client(url, SESSION_TOKEN) as client:
            with pytest.raises(ClientError) as caught:
                await client.status()
        async with serving() as node, Client(node.url, SESSION_TOKEN, silence=0.05) as client:
            node.router.script = [asyncio.Event()]
            with pytest.raises(ClientError) as late:
                await anext(client.chat(HELLO))
        return f"{caught.value.code} {late.value.code}"

    assert loop.run_until_complete(fail()) == "not_running timeout"
