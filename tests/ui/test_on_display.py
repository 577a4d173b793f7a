"""The app on a real X display, as a person uses it: tray, menu, window, keys."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ui_display import Display, app_on, display, ends, eventually, missing_programs

pytestmark = [
    pytest.mark.window,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="X11 is Linux's"),
    pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {missing_programs()}"),
]


def chats(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]


def turns(folder: Path) -> list[dict[str, Any]]:
    found = chats(folder)
    return found[0]["turns"] if found else []


def write(shown: Display, text: str) -> None:
    shown.xdotool("search", "--onlyvisible", "--name", "SwarmLLM", "windowactivate", "--sync")
    shown.xdotool("type", "--delay", "15", text)
    shown.xdotool("key", "Return")


def test_tray_chat_stop_and_quit(tmp_path: Path) -> None:
    script = json.dumps({"pieces": ["Once ", "upon"], "hold": True})
    with display(tray=True) as shown, app_on(shown, tmp_path, script) as app:
        write(shown, "tell me")
        eventually(lambda: [turn["role"] for turn in turns(tmp_path)] == ["user", "assistant"])
        eventually(lambda: shown.windows("tell me"))
        shown.xdotool("sleep", "0.5", "key", "Escape")
        eventually(lambda: turns(tmp_path)[1].get("stopped"))
        assert turns(tmp_path)[0]["text"] == "tell me"
        assert turns(tmp_path)[1]["text"] == "Once upon"

        shown.xdotool("key", "alt+F4")
        eventually(lambda: not shown.windows("SwarmLLM"))
        assert app.poll() is None
        x, y = shown.tray_place()
        eventually(lambda: shown.colours(x, y, 16) > 8)
        shown.xdotool("mousemove", x, y, "click", "1")
        eventually(lambda: shown.windows("SwarmLLM"))

        shown.xdotool(
            "mousemove", x, y, "click", "3", "sleep", "1", "key", "Up", "sleep", "0.3", "key", "Return"
        )
        assert ends(app) == 0


def test_an_answer_streams_into_the_window(tmp_path: Path) -> None:
    script = json.dumps({"pieces": ["Hello ", "**there**."], "delay": 0.2})
    with display(tray=True) as shown, app_on(shown, tmp_path, script) as app:
        write(shown, "hi")
        eventually(lambda: len(turns(tmp_path)) == 2 and turns(tmp_path)[1].get("finish") == "stop")
        assert turns(tmp_path)[1]["text"] == "Hello **there**."
        app.terminate()
        assert ends(app) == 0


def test_without_a_tray_closing_the_window_asks_and_quits(tmp_path: Path) -> None:
    with display(tray=False) as shown, app_on(shown, tmp_path, "{}") as app:
        shown.xdotool("search", "--onlyvisible", "--name", "SwarmLLM", "windowactivate", "--sync")
        shown.xdotool("key", "alt+F4")
        eventually(lambda: shown.windows("Quit SwarmLLM"))
        assert app.poll() is None
        shown.xdotool("sleep", "0.5", "key", "Return")
        assert ends(app) == 0
