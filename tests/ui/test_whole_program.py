"""The program itself with its node and the built-in model: on a display, and for the documentation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ui_display import ROOT, display, ends, eventually, missing_programs, running

pytestmark = [pytest.mark.window, pytest.mark.slow]


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is Linux's")
@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {missing_programs()}")
def test_a_person_starts_it_asks_and_quits(tmp_path: Path, guide_model: Path) -> None:
    assert guide_model.is_file()
    chats = tmp_path / "chats"
    command = [sys.executable, "-m", "app", "-d", str(tmp_path), "-p", "0"]
    with display(tray=True) as shown:
        environment = shown.env | {"QT_QPA_PLATFORM": "xcb"}
        with running(command, environment, cwd=ROOT) as app:
            eventually((tmp_path / "runtime.json").exists)
            eventually(lambda: shown.windows("SwarmLLM"))
            shown.xdotool("search", "--onlyvisible", "--name", "SwarmLLM", "windowactivate", "--sync")
            shown.xdotool("sleep", "1", "type", "--delay", "15", "What is a shard?")

            def answered() -> bool:
                shown.xdotool("key", "Return")
                files = list(chats.glob("*.json")) if chats.is_dir() else []
                turns = json.loads(files[0].read_text(encoding="utf-8"))["turns"] if files else []
                return len(turns) == 2 and turns[1].get("finish") == "stop" and turns[1]["tokens"] > 3

            eventually(answered)
            x, y = shown.tray_place()
            click = (
                "mousemove",
                x,
                y,
                "click",
                "3",
                "sleep",
                "1",
                "key",
                "Up",
                "sleep",
                "0.3",
                "key",
                "Return",
            )
            shown.xdotool(*click)
            assert ends(app) == 0
    assert not (tmp_path / "runtime.json").exists()


def test_the_screenshots_can_be_made_again(tmp_path: Path) -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "tools.screenshots", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"chat-dark.png", "chat-light.png", "start-dark.png", "start-light.png"}
    assert all(10_000 < size < 300_000 for size in sizes.values())
