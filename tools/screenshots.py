"""Makes the pictures of the documentation: the chat window over a real node with the built-in model.

    python -m tools.screenshots [--out docs/screenshots]

A node is started in a temporary folder, asked a few questions through the window itself, and the window
is drawn offscreen, so that only the measured speed differs from run to run.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtCore import QLocale
from PySide6.QtWidgets import QApplication

from app.client import Client, Runtime, find_node
from app.ui.chat.desk import Desk
from app.ui.chat.store import ChatStore
from app.ui.chat.suggestions import load_suggestions
from app.ui.desktop import Desktop
from app.ui.loop import QtEventLoop
from app.ui.node_backend import NodeBackend
from app.ui.status import NodeStatus
from app.ui.theme.theme import Theme

ROOT = Path(__file__).resolve().parent.parent
SHOWN_ADDRESS = "http://127.0.0.1:8800"
START_SECONDS = 60.0
CHATS = (
    ("How do I invite a friend?",),
    ("Do I need a graphics card?",),
    ("How does one model run on several computers?",),
    ("How do I start the node?",),
    ("What is a shard?", "How do I add a model?"),
)


@contextlib.asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Runtime]:
    """A headless node of its own."""
    command = ("-m", "app", "-d", str(folder), "-p", "0", "run", "--headless")
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=quiet, stderr=quiet
    )
    try:
        yield await started(folder)
    finally:
        process.terminate()
        await process.wait()


async def started(folder: Path) -> Runtime:
    async with asyncio.timeout(START_SECONDS):
        while (runtime := find_node(folder)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return runtime


async def ask(desk: Desk, question: str) -> None:
    desk.send(question)
    while desk.current.busy:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def take(theme: Theme, out: Path) -> None:
    numbers = itertools.count(1)
    status = NodeStatus()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        desk = Desk(
            store=ChatStore(folder / "shown"),
            clock=time.monotonic,
            wall_clock=time.time,
            new_id=lambda: f"{next(numbers):032x}",
        )
        window = Desktop(
            desk=desk, status=status, theme=theme, suggestions=load_suggestions(), leave=lambda: None
        )
        async with (
            node(folder / "node") as runtime,
            Client(runtime.url, runtime.token) as client,
            desk,
        ):
            window.show()
            status.connected(SHOWN_ADDRESS)
            await desk.connect_to(NodeBackend(client))
            window.window.sidebar.status.show_note("")
            await shoot(theme, window, out, "start")
            for questions in CHATS:
                desk.new_chat()
                for question in questions:
                    await ask(desk, question)
            await shoot(theme, window, out, "chat")
        window.close()


async def shoot(theme: Theme, desktop: Desktop, out: Path, name: str) -> None:
    for choice in ("dark", "light"):
        theme.choose(choice)
        desktop.window.setFocus()
        await asyncio.sleep(0.3)
        path = out / f"{name}-{choice}.png"
        if not desktop.window.grab().save(str(path)):
            raise SystemExit(f"{path} could not be written.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    QLocale.setDefault(QLocale.Language.English)
    application = QApplication(sys.argv[:1])
    application.setQuitOnLastWindowClosed(False)
    theme = Theme(application, "dark")
    theme.install()
    with asyncio.Runner(loop_factory=lambda: QtEventLoop(application)) as runner:
        runner.run(take(theme, out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
