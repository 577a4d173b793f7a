"""A node of its own for a bench: started headless on an empty data directory, asked over HTTP, ended."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """Times are seconds since the request was sent; `tokens` as the API counts them."""

    first: float
    last: float
    tokens: int
    cached: int


class NodeProcess:
    """`with NodeProcess(folder) as node:`; the node is ready inside the block."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._environment = environment
        self.port = free_port()
        self.ready_seconds = 0.0

    def __enter__(self) -> "NodeProcess":
        environment = os.environ | {"PYTHONUNBUFFERED": "1"} | self._environment
        start = time.perf_counter()
        self._log = (self._folder / "node.log").open("wb")
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "app",
                "run",
                "--headless",
                "-p",
                str(self.port),
                "-d",
                str(self._folder / "data"),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        self._wait_ready(start)
        self.ready_seconds = time.perf_counter() - start
        self._token = json.loads((self._folder / "data" / "runtime.json").read_text())["token"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def log(self) -> str:
        return (self._folder / "node.log").read_text(errors="replace")

    def memory(self) -> int:
        """Resident bytes of the node process alone, without workers."""
        return int(psutil.Process(self._child.pid).memory_info().rss)

    def _wait_ready(self, start: float) -> None:
        while time.perf_counter() - start < 60:
            if self._child.poll() is not None:
                raise RuntimeError(f"the node ended with {self._child.returncode}:\n{self.log()[-2000:]}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the node was not ready after 60 s:\n{self.log()[-2000:]}")

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        return connection.getresponse()

    def add_model(self, path: Path) -> str:
        """Imports a file; returns the model's id."""
        known = {model["id"] for model in self.models()}
        response = self.request("POST", "/api/admin/models/import", {"path": str(path)})
        text = response.read().decode()
        new = {model["id"] for model in self.models()} - known
        if response.status >= 400 or len(new) != 1:
            raise RuntimeError(f"the import failed: {text[-500:]}")
        return str(new.pop())

    def models(self) -> list[dict[str, Any]]:
        return list(json.loads(self.request("GET", "/v1/models").read())["data"])

    def complete(self, model: str, prompt: list[int], tokens: int, eos: int = 2) -> Answer:
        """A streamed greedy completion of token ids that never ends early."""
        body = {
            "model": model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logit_bias": {str(eos): -100},
        }
        start = time.perf_counter()
        first = last = 0.0
        usage: dict[str, Any] = {}
        for event in _events(self.request("POST", "/v1/completions", body)):
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            usage = event.get("usage") or usage
            if event.get("choices"):
                last = time.perf_counter() - start
                first = first or last
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return Answer(first, last, int(usage["completion_tokens"]), int(cached))


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    if response.status != 200:
        raise RuntimeError(f"HTTP {response.status}: {response.read().decode()[:500]}")
    for line in response:
        if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
            yield json.loads(line[6:])
