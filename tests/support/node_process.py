"""A real node as a process of its own, as a user would start it, for tests."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

READY_SECONDS = 60.0


@dataclass
class RunningNode:
    """`token` is the session token of runtime.json; it is accepted as Bearer."""

    process: "subprocess.Popen[bytes]"
    data_dir: Path
    url: str
    token: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def workers(self) -> list[psutil.Process]:
        """The worker processes that the node runs now."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "worker" in child.cmdline()]

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return response.status, json.loads(text) if is_json else text

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def running_node(folder: Path, *arguments: str, **environment: str) -> Iterator[RunningNode]:
    """`swarmllm run --headless` on `folder`/data and a free port; ended by SIGTERM behind the block."""
    process, log = _start(folder, arguments, environment)
    try:
        runtime = _wait_ready(process, folder / "data" / "runtime.json", log)
        yield RunningNode(process, folder / "data", runtime["url"], runtime["token"], log)
    finally:
        _stop(process)


def _start(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> tuple["subprocess.Popen[bytes]", Path]:
    log = folder / f"node-{time.monotonic_ns()}.log"
    command = [
        sys.executable,
        "-m",
        "app",
        "run",
        "--headless",
        "-p",
        "0",
        "-d",
        str(folder / "data"),
        *arguments,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_clean_environment() | environment
        )
    return process, log


def _clean_environment() -> dict[str, str]:
    """This process's environment without a session bus, so that no keychain of the machine is touched."""
    hidden = {"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"}
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    kept = {key: value for key, value in kept.items() if not key.startswith("SWARMLLM_")}
    return kept | {"PYTHONUNBUFFERED": "1", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}


def _wait_ready(process: "subprocess.Popen[bytes]", runtime: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(
                f"the node ended with {process.returncode}:\n{log.read_text(errors='replace')}"
            )
        found = _runtime_of(process.pid, runtime)
        if found is not None and _is_ready(found["url"]):
            return found
        time.sleep(0.05)
    raise AssertionError(f"the node was not ready in time:\n{log.read_text(errors='replace')}")


def _runtime_of(pid: int, path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if found["pid"] == pid else None


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the node did not end within 15 s of SIGTERM") from None
