"""The engine on the window's loop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import engine_script as script

PROGRAM = """
import asyncio, sys, time
from PySide6.QtCore import QCoreApplication
import qasync
from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.kernel.events import EventBus
from app.core.kernel.generation import ChatRequest, Message, TextDelta
from app.core.kernel.window import Window

async def main(path):
    window = Window(files=(path,), architecture="script", first=0, last=4, n_layers=4)
    request = ChatRequest(model="m", messages=(Message(role="user", content="200 words 1 ms"),))
    engine = Engine(
        limits=EngineLimits(), bus=EventBus(print), worker_command=sys.argv[2:], clock=time.monotonic
    )
    async with engine:
        async def answer():
            chunks = engine.chat("m", window, request)
            return "".join([chunk.text async for chunk in chunks if isinstance(chunk, TextDelta)])
        answers = await asyncio.gather(*(answer() for _ in range(8)))
        pid = engine.loaded()[0].pid
    print(len(set(answers)), answers[0].split()[-1], pid)

application = QCoreApplication([])
loop = qasync.QEventLoop(application)
with loop:
    loop.run_until_complete(main(sys.argv[1]))
"""


@pytest.mark.slow
def test_streams_run_on_the_qt_loop(tmp_path: Path) -> None:
    window = script.model(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, window.files[0], *script.command()],
        env={**os.environ, "QT_API": "pyside6", "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["1", "w199"]
    assert "Traceback" not in done.stderr
