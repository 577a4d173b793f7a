"""A worker process and the node's end of its socket, for tests: blocking, one frame at a time."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

import msgspec
import numpy as np

from app.core.engine.framing import PREFIX, pack, sizes
from app.core.engine.messages import (
    Command,
    Done,
    Failed,
    Finished,
    Forward,
    Generate,
    Hidden,
    Load,
    Loaded,
    Piece,
    Progress,
    Report,
    Started,
    TextPrompt,
    TokenPrompt,
)
from app.core.kernel.generation import Sampling
from app.core.kernel.window import Window

_START = "import sys; from app.core.engine.worker.main import main; sys.exit(main(sys.argv[1:]))"
_TIMEOUT = 120.0
R = TypeVar("R")


class WorkerEnded(Exception):
    """The worker closed its socket."""


class Answer:
    """What came back for one Generate."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.pieces: list[Piece] = []
        self.finished: dict[int, Finished] = {}
        self.done: Done | None = None
        self.failed: Failed | None = None

    def text(self, choice: int = 0) -> str:
        return "".join(piece.text for piece in self.pieces if piece.choice == choice)

    def tokens(self, choice: int = 0) -> list[int]:
        return [token for piece in self.pieces if piece.choice == choice for token in piece.tokens]

    @property
    def over(self) -> bool:
        return self.done is not None or self.failed is not None

    def add(self, report: Report) -> None:
        match report:
            case Started():
                self.started = report
            case Piece():
                self.pieces.append(report)
            case Finished():
                self.finished[report.choice] = report
            case Done():
                self.done = report
            case Failed():
                self.failed = report


class Worker:
    """`with Worker() as worker:` starts the process; leaving ends it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        ours.settimeout(_TIMEOUT)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, "--fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        self._numbers = iter(range(1, 1 << 30))
        self._decoder = msgspec.msgpack.Decoder(Report)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        try:
            out, err = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
        if kind is not None:
            sys.stderr.write(err.decode(errors="replace"))
        assert out == b"", "the worker wrote to stdout"

    def number(self) -> int:
        return next(self._numbers)

    def send(self, command: Command, payload: bytes = b"") -> None:
        self.socket.sendall(pack(msgspec.msgpack.encode(command), payload))

    def receive(self) -> tuple[Report, bytes]:
        header, payload = sizes(self._exactly(PREFIX.size))
        return self._decoder.decode(self._exactly(header)), self._exactly(payload)

    def expect(self, kind: type[R]) -> R:
        """The next report, which must be of `kind` (progress of loading apart)."""
        report, _ = self.receive()
        while isinstance(report, Progress) and kind is not Progress:
            report, _ = self.receive()
        assert isinstance(report, kind), report
        return report

    def load(self, window: Window, **limits: int) -> Loaded:
        self.send(load_command(window, **limits))
        return self.expect(Loaded)

    def start(self, prompt: str | list[int], *, n: int = 1, **sampling: object) -> int:
        request = self.number()
        kind = TextPrompt(text=prompt) if isinstance(prompt, str) else TokenPrompt(tokens=tuple(prompt))
        options = Sampling(**{"temperature": 0.0, "max_tokens": 16, **sampling})
        self.send(Generate(request=request, prompt=kind, sampling=options, n=n))
        return request

    def collect(self, *requests: int) -> list[Answer]:
        """Reads until every request is over."""
        answers = {request: Answer() for request in requests}
        while not all(answer.over for answer in answers.values()):
            report, _ = self.receive()
            answers[report.request].add(report)
        return list(answers.values())

    def generate(self, prompt: str | list[int], *, n: int = 1, **sampling: object) -> Answer:
        return self.collect(self.start(prompt, n=n, **sampling))[0]

    def forward(
        self, rows: np.ndarray, *, sequence: int = 0, position: int = 0, wanted: int | None = None
    ) -> np.ndarray:
        """Runs one Forward and answers its rows [wanted, width]."""
        self.send_forward(rows, sequence=sequence, position=position, wanted=wanted)
        report, payload = self.receive()
        assert isinstance(report, Hidden), report
        return np.frombuffer(payload, np.float32).reshape(report.rows, report.width)

    def send_forward(
        self, rows: np.ndarray, *, sequence: int = 0, position: int = 0, wanted: int | None = None
    ) -> int:
        request = self.number()
        count = len(rows) if wanted is None else wanted
        command = Forward(request=request, sequence=sequence, position=position, rows=len(rows), wanted=count)
        self.send(command, np.ascontiguousarray(rows).tobytes())
        return request

    def reports(self) -> Iterator[Report]:
        while True:
            yield self.receive()[0]

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise WorkerEnded
            data += part
        return bytes(data)


def load_command(window: Window, **limits: int) -> Load:
    defaults = {
        "context_tokens": 512,
        "slots": 4,
        "batch_tokens": 256,
        "prefill_chunk": 32,
        "threads": 1,
        "gpu_layers": 0,
        "prefix_cache_bytes": 64 << 20,
    }
    return Load(window=window, **{**defaults, **limits})


def whole(path: object, architecture: str = "llama", n_layers: int = 4, **more: object) -> Window:
    return Window(
        files=(str(path),), architecture=architecture, first=0, last=n_layers, n_layers=n_layers, **more
    )
