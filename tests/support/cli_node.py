"""A scripted node for commands: a real API server in a thread, and the file that leads to it."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli.host import CommandError, ConfigReport, Connection, Flags, OptionRow
from tests.support.api_server import SESSION_TOKEN, Node, serving


@contextmanager
def served(node: Node, **options: Any) -> Iterator[Node]:
    """Serves `node` on a loop in a thread of its own; `options` are those of `serving`."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    leave = asyncio.Event()

    async def serve() -> None:
        async with serving(node, **options):
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="served")
    thread.start()
    try:
        assert ready.wait(20)
        yield node
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(20)
        loop.close()


def write_runtime(data_dir: Path, url: str, token: str = SESSION_TOKEN) -> None:
    """What a running node leaves for commands."""
    runtime = {"pid": os.getpid(), "url": url, "token": token, "version": "0.1.0"}
    (data_dir / "runtime.json").write_text(json.dumps(runtime))


@dataclass
class FixedHost:
    """A Host for one scripted node; remembers how it was asked to run."""

    data: Path
    url: str = ""
    display: bool = False
    ran: tuple[Flags, bool] | None = None

    def version(self) -> str:
        return "1.2.3"

    def has_display(self) -> bool:
        return self.display

    def run(self, flags: Flags, *, headless: bool) -> int:
        self.ran = (flags, headless)
        return 0

    def config(self, flags: Flags) -> ConfigReport:
        row = OptionRow(key="node.listen_port", value="8800", source="default", description="Port.")
        return ConfigReport(rows=(row,), file=None)

    def data_dir(self, flags: Flags) -> Path:
        return self.data

    def connection(self, flags: Flags) -> Connection:
        if not self.url:
            raise CommandError("No node is running.", 3)
        return Connection(url=self.url, token=SESSION_TOKEN)

    def api_key(self, flags: Flags) -> str:
        return "k" * 64
