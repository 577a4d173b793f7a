"""The windowed app as its own process, over a scripted node, for tests that need one.

    python -m tests.support.ui_app CHATS_FOLDER SCRIPT_JSON

The script's fields are those of ApiScript; besides, "fail" makes the start of the node fail with that
sentence, "fail_later" ends the node so after a moment, and "hang" makes its end take for ever. A failure's
dialog is printed and closed, as there is nobody to click.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox

from app.ui.application import run_app
from app.ui.backend import Connection
from tests.support.ui_server import ApiScript, scripted_node


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@asynccontextmanager
async def node(script: ApiScript, *, fail: str, fail_later: str, hang: bool) -> AsyncIterator[Connection]:
    say(f"loop {type(asyncio.get_running_loop()).__name__}")
    watcher = QTimer(QApplication.instance())
    watcher.timeout.connect(close_dialog)
    if fail or fail_later:
        watcher.start(100)
    if fail:
        raise RuntimeError(fail)
    async with scripted_node(script) as connection:
        say("node started")
        if fail_later:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.5, task.cancel)
        try:
            yield connection
        except asyncio.CancelledError:
            if fail_later:
                raise RuntimeError(fail_later) from None
            raise
        while hang:  # noqa: ASYNC110
            await asyncio.sleep(3600)
    say("node stopped")


def close_dialog() -> None:
    box = QApplication.activeModalWidget()
    if isinstance(box, QMessageBox):
        say(f"dialog {box.informativeText()}")
        box.close()


def main() -> int:
    options = json.loads(sys.argv[2])
    fail, fail_later = options.pop("fail", ""), options.pop("fail_later", "")
    hang = options.pop("hang", False)
    script = ApiScript(**options)
    return run_app(
        lambda: node(script, fail=fail, fail_later=fail_later, hang=hang),
        theme="dark",
        chats=Path(sys.argv[1]),
    )


if __name__ == "__main__":
    sys.exit(main())
