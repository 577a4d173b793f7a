"""A chat window over a scripted node, on the loop of the test."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PySide6.QtWidgets import QWidget

from app.client import Client
from app.ui.chat.desk import Desk
from app.ui.chat.store import ChatStore
from app.ui.desktop import Desktop
from app.ui.node_backend import NodeBackend
from app.ui.status import NodeStatus
from app.ui.theme.theme import Theme
from tests.support.ui_server import TOKEN, ApiScript, ScriptedApi

W = TypeVar("W", bound=QWidget)
SUGGESTIONS = ("What is SwarmLLM?", "What can you do?", "How do I add a model?")


@dataclass
class Bench:
    """Everything a window test reaches for."""

    script: ApiScript
    desk: Desk
    desktop: Desktop
    status: NodeStatus
    left: list[bool]
    backend: NodeBackend

    def all(self, kind: type[W]) -> list[W]:
        """The visible widgets of `kind`, in the order in which they stand in the conversation."""
        found = self.desktop.window.findChildren(kind)
        return [widget for widget in found if widget.isVisible()]

    async def answered(self) -> None:
        await until(lambda: not self.desk.current.busy)
        await shown()

    async def ask(self, text: str) -> None:
        self.desk.send(text)
        await self.answered()


@asynccontextmanager
async def chat_bench(folder: Path, theme: Theme, script: ApiScript | None = None) -> AsyncIterator[Bench]:
    script = script or ApiScript()
    numbers = itertools.count(1)
    status = NodeStatus()
    left: list[bool] = []
    desk = Desk(
        store=ChatStore(folder),
        clock=time.monotonic,
        wall_clock=lambda: 1_800_000_000.0,
        new_id=lambda: f"{next(numbers):032x}",
    )
    desktop = Desktop(
        desk=desk, status=status, theme=theme, suggestions=SUGGESTIONS, leave=lambda: left.append(True)
    )
    async with ScriptedApi(script) as api, Client(api.url, TOKEN) as client:
        async with desk:
            desktop.show()
            status.connected(api.url)
            backend = NodeBackend(client)
            await desk.connect_to(backend)
            await shown()
            yield Bench(script, desk, desktop, status, left, backend)
        desktop.close()


async def shown() -> None:
    """Lets Qt lay out and show what was just made; its events go before those of asyncio."""
    for _ in range(3):
        await asyncio.sleep(0.005)


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for `true`; the limit is for a test that hangs, not for a slow machine."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
