"""The real program in a pseudo-terminal, as a person sees it."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Terminal:
    """What the program printed, and the keys it gets."""

    def __init__(self, process: "subprocess.Popen[bytes]", handle: int) -> None:
        self.process = process
        self._handle = handle
        self.text = ""

    def read_until(self, expected: str, *, seconds: float = 30.0) -> str:
        """Reads until `expected` was printed since the last call; returns what came until then."""
        end = time.monotonic() + seconds
        while expected not in self.text:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._handle], [], [], left)[0]
            assert ready, f"{expected!r} did not come: {self.text!r}"
            self.text += self._read()
        before, _, self.text = self.text.partition(expected)
        return before + expected

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self, *, seconds: float = 30.0) -> int:
        """Reads what is left; returns the exit code."""
        end = time.monotonic() + seconds
        while select.select([self._handle], [], [], max(0.0, end - time.monotonic()))[0]:
            read = self._read()
            if not read:
                break
            self.text += read
        return self.process.wait(max(1.0, end - time.monotonic()))

    def _read(self) -> str:
        try:
            return os.read(self._handle, 65536).decode(errors="replace").replace("\r\n", "\n")
        except OSError:
            # Linux says EIO where the other side has gone.
            return ""


@contextmanager
def terminal(*arguments: str, environ: dict[str, str]) -> Iterator[Terminal]:
    """`python -m app arguments` in a terminal; killed behind the block if it still runs."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
