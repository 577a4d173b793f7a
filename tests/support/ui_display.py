"""A real X display for window tests: Xvfb, a window manager, and a tray if asked for.

Needs the Debian packages xvfb, openbox, trayer, xdotool and imagemagick. Everything is started on a
display number that Xvfb picks itself, and ended by process id.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("Xvfb", "openbox", "trayer", "xdotool", "import")
ROOT = Path(__file__).resolve().parents[2]
_LIMIT = 90.0
_TRAY = "trayer --edge bottom --align right --widthtype request --height 32 --SetDockType true --expand true"


def missing_programs(*more: str) -> list[str]:
    return [program for program in (*PROGRAMS, *more) if shutil.which(program) is None]


@contextmanager
def running(
    command: Sequence[str], env: dict[str, str], **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` as a process that is ended on leaving, whatever happened."""
    process = subprocess.Popen(command, env=env, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Display:
    """An X display with the means to look at it and to press keys on it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def xdotool(self, *arguments: object) -> str:
        command = ["xdotool", *(str(argument) for argument in arguments)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()

    def windows(self, name: str) -> list[str]:
        """The ids of the visible windows whose title matches `name`."""
        return self.xdotool("search", "--onlyvisible", "--name", name).split()

    def tray_place(self) -> tuple[int, int]:
        """The middle of the tray's panel."""
        window = self.xdotool("search", "--onlyvisible", "--class", "trayer").split()[0]
        shape = dict(
            line.split("=")
            for line in self.xdotool("getwindowgeometry", "--shell", window).splitlines()
            if "=" in line
        )
        x, y, width, height = (int(shape[key]) for key in ("X", "Y", "WIDTH", "HEIGHT"))
        return x + width // 2, y + height // 2

    def colours(self, x: int, y: int, size: int) -> int:
        """How many colours a square around a point has."""
        shown = subprocess.run(
            ["import", "-window", "root", "-crop", f"{size}x{size}+{x - size // 2}+{y - size // 2}", "txt:-"],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return len({line.split()[2] for line in shown.stdout.splitlines()[1:]})


@contextmanager
def display(*, tray: bool, env: dict[str, str] | None = None) -> Iterator[Display]:
    reader, writer = os.pipe()
    base = {
        key: value for key, value in os.environ.items() if not key.startswith(("QT_", "DBUS_", "WAYLAND"))
    }
    base |= {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"} | (env or {})
    with ExitStack() as stack:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        stack.enter_context(running(command, base, pass_fds=(writer,), **quiet))
        os.close(writer)
        with os.fdopen(reader) as answer:
            base["DISPLAY"] = f":{answer.readline().strip()}"
        shown = Display(base)
        stack.enter_context(running(["openbox"], base, **quiet))
        if tray:
            stack.enter_context(running(_TRAY.split(), base, **quiet))
            eventually(lambda: shown.xdotool("search", "--class", "trayer"))
        yield shown


@contextmanager
def app_on(shown: Display, chats: Path, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """The windowed app on the display, over a scripted node."""
    command = [sys.executable, "-m", "tests.support.ui_app", str(chats), script]
    with running(command, shown.env | {"QT_QPA_PLATFORM": "xcb"}, cwd=ROOT) as process:
        eventually(lambda: shown.windows("SwarmLLM"))
        yield process


def eventually(true: Callable[[], object], limit: float = _LIMIT) -> None:
    """Waits for `true`; the limit ends tests that hang, it measures nothing."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def ends(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that is about to end."""
    return process.wait(_LIMIT)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
