"""One worker as an operating system process: started, listened to, ended, never left behind."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from app.core.engine.threads import SPAWN_ENVIRONMENT

log = logging.getLogger(__name__)

TAIL_LINES: Final = 60
MAX_LINE: Final = 500
MAX_LOGGED: Final = 500
NODE_OPTIONS: Final = "SWARMLLM_"
SECRETS: Final = frozenset(
    {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS"}
)
"""Where tokens and the way to the keychain stand: a worker reads files that strangers made."""
Child: TypeAlias = "subprocess.Popen[bytes]"


class Process:
    """The child, its end of the socket handed over, its stderr read by a thread into the log.

    `name` is for the log. The socket is the child's life line: when the parent dies, the child sees it
    closed and ends.
    """

    def __init__(self, *, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._command = tuple(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    async def start(self) -> socket.socket:
        """Starts the child and returns our end of the socket, non-blocking. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._child = await _uninterrupted(asyncio.to_thread(self._spawn, theirs))
        except BaseException:
            ours.close()
            raise
        self._reader = threading.Thread(target=self._read_stderr, name=f"stderr of {self._name}", daemon=True)
        self._reader.start()
        ours.setblocking(False)
        return ours

    @property
    def pid(self) -> int:
        """0 before the start."""
        return self._child.pid if self._child else 0

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of what the child wrote to stderr."""
        return tuple(self._tail)

    async def ended(self, within: float) -> int | None:
        """Waits up to `within` seconds for the child to end by itself, then kills it. Its exit status,
        negative for a signal; all it wrote has been read by then.
        """
        if self._child is None:
            return None
        return await asyncio.to_thread(self._wait, within)

    def kill(self) -> None:
        """Kills the child without waiting for it; `ended` must follow."""
        if self._child is not None:
            with suppress(OSError):
                self._child.kill()

    def _wait(self, within: float) -> int | None:
        assert self._child is not None
        try:
            self._child.wait(within)
        except subprocess.TimeoutExpired:
            log.warning("The worker of %s did not end by itself and is killed.", self._name)
            self._child.kill()
            self._child.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        return self._child.returncode

    def _spawn(self, theirs: socket.socket) -> Child:
        environment = worker_environment(os.environ)
        if sys.platform == "win32":
            # A venv's python.exe only starts the real one, but a socket is shared with one process only.
            program = self._command[0]
            base = getattr(sys, "_base_executable", program)
            if program == sys.executable and base != program:
                environment["__PYVENV_LAUNCHER__"] = program
                program = base
            child = subprocess.Popen(
                [program, *self._command[1:], "--share"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
            )
            assert child.stdin is not None
            with child.stdin as stdin:
                stdin.write(theirs.share(child.pid))
        else:
            child = subprocess.Popen(
                [*self._command, "--fd", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        return child

    def _read_stderr(self) -> None:
        assert self._child is not None
        assert self._child.stderr is not None
        logged = 0
        with self._child.stderr as stream:
            while line := stream.readline(MAX_LINE):
                text = line.decode("utf-8", "replace").rstrip()
                if not text:
                    continue
                self._tail.append(text)
                logged += 1
                if logged <= MAX_LOGGED:
                    log.info("%s: %s", self._name, text)
                elif logged == MAX_LOGGED + 1:
                    log.info("%s: further lines of this worker are not logged.", self._name)


async def _uninterrupted(spawning: Coroutine[Any, Any, Child]) -> Child:
    """Lets a spawn finish even if its caller is cancelled: a child that nobody knows would be left."""
    task = asyncio.create_task(spawning, name="spawn worker")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(OSError):
            child = await task
            await asyncio.to_thread(_discard, child)
        raise


def _discard(child: Child) -> None:
    child.kill()
    child.wait()
    if child.stderr is not None:
        child.stderr.close()


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a worker: ours, without anything of the node's options or secrets, and with
    bounded spinning unless the user has set that himself.
    """
    inherited = {
        key: value
        for key, value in environ.items()
        if not key.startswith(NODE_OPTIONS) and key not in SECRETS
    }
    return {**SPAWN_ENVIRONMENT, "PYTHONUNBUFFERED": "1", **inherited}
