"""A real Secret Service: a private D-Bus session with a gnome-keyring-daemon of its own.

Needs the Debian packages dbus and gnome-keyring, which the project's setup installs.
"""

import os
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

PASSWORD = b"only for this test"


class SecretService:
    """`with SecretService(folder) as service:` runs it; `service.environ` leads clients to it."""

    def __init__(self, folder: Path, *, unlocked: bool = True) -> None:
        self._unlocked = unlocked
        self._processes: list[subprocess.Popen[bytes]] = []
        # The path of a Unix socket is short, so `folder` must be.
        self.environ = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PATH": os.environ["PATH"],
        }

    def __enter__(self) -> Self:
        for program in ("dbus-daemon", "gnome-keyring-daemon"):
            assert shutil.which(program), f"{program} is missing; `make test` installs it"
        bus = self._start(["dbus-daemon", "--session", "--nofork", "--print-address"])
        assert bus.stdout is not None
        self.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
        daemon = self._start([*command, "--unlock"] if self._unlocked else command)
        assert daemon.stdin is not None
        if self._unlocked:
            daemon.stdin.write(PASSWORD)
        daemon.stdin.close()
        self._await_service()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(timeout=20)
            for stream in (process.stdin, process.stdout):
                if stream is not None and not stream.closed:
                    stream.close()

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _await_service(self) -> None:
        """The daemon says where its control socket is once it is up."""
        daemon = self._processes[-1]
        assert daemon.stdout is not None
        ready, _, _ = select.select([daemon.stdout], [], [], 20)
        assert ready, "gnome-keyring-daemon did not start"
        subprocess.run(
            ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
             "org.freedesktop.DBus.StartServiceByName", "string:org.freedesktop.secrets", "uint32:0"],
            env=self.environ, check=True, capture_output=True, timeout=20,
        )  # fmt: skip
