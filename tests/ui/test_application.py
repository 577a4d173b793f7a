"""The app as a process: how it starts, fails and ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ui_display import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]


def start(folder: Path, script: str) -> "subprocess.Popen[str]":
    """The app offscreen, once it has printed its first line."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "tests.support.ui_app", str(folder), script],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_app_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "{}") as app:
        assert app.stdout is not None
        assert app.stdout.readline() == "loop QtEventLoop\n"
        assert app.stdout.readline() == "node started\n"
        app.send_signal(number)
        output, errors = app.communicate(timeout=60)
    assert (app.returncode, output) == (0, "node stopped\n")
    assert "Warning" not in errors
    assert "Traceback" not in errors


def test_a_signal_while_the_node_starts_ends_the_app_too(tmp_path: Path) -> None:
    with start(tmp_path, "{}") as app:
        assert app.stdout is not None
        app.stdout.readline()
        app.send_signal(signal.SIGTERM)
        app.communicate(timeout=60)
    assert app.returncode == 0


def test_a_node_that_cannot_start_is_explained(tmp_path: Path) -> None:
    with start(tmp_path, '{"fail": "The port 8800 is taken."}') as app:
        output, errors = app.communicate(timeout=60)
    assert (app.returncode, output) == (1, "loop QtEventLoop\ndialog The port 8800 is taken.\n")
    assert "Warning" not in errors


def test_a_node_that_fails_later_is_explained(tmp_path: Path) -> None:
    with start(tmp_path, '{"fail_later": "The disk is gone."}') as app:
        output, _ = app.communicate(timeout=60)
    assert app.returncode == 1
    assert "dialog The disk is gone." in output


def test_a_node_that_does_not_stop_is_left_behind(tmp_path: Path) -> None:
    with start(tmp_path, '{"hang": true}') as app:
        assert app.stdout is not None
        app.stdout.readline()
        app.stdout.readline()
        app.send_signal(signal.SIGTERM)
        _, errors = app.communicate(timeout=60)
    assert app.returncode == 1
    assert "did not stop within" in errors


def test_the_windows_need_nothing_of_the_core() -> None:
    code = "import sys, app.ui.application; print([m for m in sys.modules if m.startswith('app.core')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
