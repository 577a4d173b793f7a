"""The windowed app: one process, one loop, the node and its windows on it.

Start: Qt, loop, tray and window, then the node; the window is there while the node still starts. End, by
tray, window, signal or desktop: answers are ended and kept, then the node stops, all within
`STOP_SECONDS`. The windows reach the node only through its API.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from secrets import token_hex
from typing import Any

from PySide6.QtCore import QEvent, Signal
from PySide6.QtWidgets import QApplication

from app.client import Client
from app.ui.backend import Connection
from app.ui.chat.desk import Desk
from app.ui.chat.store import ChatStore
from app.ui.chat.suggestions import load_suggestions
from app.ui.desktop import Desktop
from app.ui.loop import QtEventLoop
from app.ui.node_backend import NodeBackend
from app.ui.signals import calling_on_signals
from app.ui.status import NodeStatus
from app.ui.tasks import Tasks
from app.ui.theme.icons import app_icon
from app.ui.theme.theme import Theme

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
_STUCK = -1

StartNode = Callable[[], AbstractAsyncContextManager[Connection]]


class _Application(QApplication):
    """Qt's own "quit" (a desktop's log out, Cmd+Q) becomes a request, so that the node can stop first."""

    quit_asked = Signal()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Quit:
            event.ignore()
            self.quit_asked.emit()
            return True
        return super().event(event)


def run_app(start_node: StartNode, *, theme: str, chats: Path) -> int:
    """Runs the app until the user quits; returns the exit code.

    `start_node` makes the node, entered and left on the app's loop. `theme` is "dark", "light" or
    "system". Chats are kept in the folder `chats`. The code is 0, or 1 when the node failed. A node that
    does not stop cannot keep the app alive: then the process ends with code 1, without returning.
    """
    application = _Application(sys.argv[:1])
    application.setApplicationName("SwarmLLM")
    application.setDesktopFileName("swarmllm")
    application.setQuitOnLastWindowClosed(False)
    application.setWindowIcon(app_icon())
    appearance = Theme(application, theme)
    appearance.install()
    leave = asyncio.Event()
    application.quit_asked.connect(leave.set)
    with (
        calling_on_signals(leave.set),
        asyncio.Runner(loop_factory=lambda: QtEventLoop(application)) as runner,
    ):
        code = runner.run(_run(start_node, theme=appearance, chats=chats, leave=leave))
        if code == _STUCK:
            logging.shutdown()
            os._exit(1)
        return code


async def _run(start_node: StartNode, *, theme: Theme, chats: Path, leave: asyncio.Event) -> int:
    status = NodeStatus()
    desk = Desk(
        store=ChatStore(chats),
        clock=time.monotonic,
        wall_clock=time.time,
        new_id=lambda: token_hex(16),
    )
    desktop = Desktop(desk=desk, status=status, theme=theme, suggestions=load_suggestions(), leave=leave.set)
    desktop.show()
    node = _NodeHolder(start_node)
    try:
        async with desk:
            problem = await _serve(node, desk=desk, desktop=desktop, status=status, leave=leave)
            if problem is not None:
                status.fails(problem)
                await _first(desktop.explain_failure(problem, started=node.started), leave.wait())
            status.stopping()
    finally:
        stopped = await node.stop()
        desktop.close()
    if not stopped:
        return _STUCK
    return 0 if problem is None and node.problem is None else 1


async def _serve(
    node: "_NodeHolder", *, desk: Desk, desktop: Desktop, status: NodeStatus, leave: asyncio.Event
) -> str | None:
    """Until the user leaves: None. Until the node fails: the sentence that says why."""
    leaving = asyncio.create_task(leave.wait(), name="wait for quit")
    try:
        connection = await node.start(leaving)
        if connection is None:
            return node.problem
        async with Client(connection.url, connection.token) as client, Tasks() as tasks:
            backend = NodeBackend(client)
            status.connected(connection.url)
            desktop.connected(connection)
            await desk.connect_to(backend)
            tasks.start(status.watch(backend), name="watch the node")
            await node.ended(leaving)
        return node.problem
    finally:
        leaving.cancel()


async def _first(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Runs until one of them is done, and cancels the others."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _NodeHolder:
    """Enters and leaves the node in one task, as its own tasks and cancel scopes need it."""

    def __init__(self, start_node: StartNode) -> None:
        self._start_node = start_node
        self._release = asyncio.Event()
        self._connection: asyncio.Future[Connection] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, leaving: asyncio.Task[bool]) -> Connection | None:
        """The connection, or None when the node failed or the user left first."""
        self._connection = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(self._connection), name="node")
        self._task.add_done_callback(_log_failure)
        wanted: set[asyncio.Future[Any]] = {self._connection, self._task, leaving}
        await asyncio.wait(wanted, return_when=asyncio.FIRST_COMPLETED)
        return self._connection.result() if self._connection.done() else None

    async def ended(self, leaving: asyncio.Task[bool]) -> None:
        if self._task is not None:
            await asyncio.wait({self._task, leaving}, return_when=asyncio.FIRST_COMPLETED)

    @property
    def started(self) -> bool:
        return self._connection is not None and self._connection.done()

    @property
    def problem(self) -> str | None:
        """Why the node is not there any more; None as long as it is, or was left on purpose."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        error = self._task.exception()
        if error is None:
            return None if self._release.is_set() else "The node ended."
        return str(error) or f"The node failed with {type(error).__name__}; the log says more."

    async def stop(self) -> bool:
        """Leaves the node; False when it did not end in time."""
        if self._task is None:
            return True
        self._release.set()
        if self._connection is not None and not self._connection.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        if not self._task.done():
            log.error("The node did not stop within %s seconds and is abandoned.", STOP_SECONDS)
            return False
        return True

    async def _hold(self, connection: asyncio.Future[Connection]) -> None:
        async with self._start_node() as made:
            if not connection.done():
                connection.set_result(made)
            await self._release.wait()


def _log_failure(task: asyncio.Task[None]) -> None:
    """An expected error, which carries a code, is a sentence in the log; a bug comes with its traceback."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if hasattr(error, "code"):
        log.error("The node failed: %s", error)
    else:
        log.error("The node failed.", exc_info=error)
