"""A worker program for tests of the node's side: real frames over a real socket, answers by a script.

The prompt's text says what happens, e.g. "40 words", "40 words 5 ms", "3 words die", "stall". The first
line of the model file says how loading goes: "abort", "refuse", "vanish", "hang", else well.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

import msgspec

from app.core.engine import framing
from app.core.engine.messages import (
    Cancel,
    ChatPrompt,
    Command,
    Done,
    Embed,
    Embeddings,
    EndSequence,
    Failed,
    Finished,
    Forward,
    Generate,
    Hidden,
    Load,
    Loaded,
    ModelInfo,
    Piece,
    Ping,
    Pong,
    Progress,
    Report,
    SetThreads,
    Shutdown,
    Started,
    TextPrompt,
    Tokenize,
    Tokens,
)
from app.core.kernel.generation import AlternativeToken, TokenLogprob
from app.core.kernel.window import Window


def command() -> list[str]:
    """The command line that starts this worker."""
    return [sys.executable, "-m", "tests.support.engine_script"]


def model(folder: Path, name: str = "model", manner: str = "well", size: int = 0) -> Window:
    """A window onto a file that loads in the given manner."""
    path = folder / f"{name}.gguf"
    with path.open("wb") as file:
        file.write(f"{manner}\n".encode())
        file.truncate(max(size, file.tell()))
    return Window(files=(str(path),), architecture="script", first=0, last=4, n_layers=4)


class Job:
    def __init__(self, generate: Generate, text: str) -> None:
        words = text.split()
        self.request = generate.request
        self.n = generate.n
        self.logprobs = generate.sampling.logprobs is not None
        self.stall = "stall" in words
        self.die = "die" in words
        self.raw = text.removeprefix("say ") if text.startswith("say ") else None
        self.total = int(words[0]) if words[0].isdigit() else 0
        self.pause = float(words[2]) / 1000 if "ms" in words else 0.0
        self.made = 0
        self.due = time.monotonic()


class Worker:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.jobs: dict[int, Job] = {}
        self.positions: dict[int, int] = {}
        self.threads = 0

    def send(self, report: Report, payload: bytes = b"") -> None:
        self.sock.sendall(framing.pack(msgspec.msgpack.encode(report), payload))

    def run(self) -> int:
        while True:
            now = time.monotonic()
            wait = min((max(0.0, job.due - now) for job in self.jobs.values()), default=None)
            if select.select([self.sock], [], [], wait)[0]:
                data = self.sock.recv(1 << 16)
                if not data:
                    return 0
                self.buffer += data
            self.commands()
            for job in tuple(self.jobs.values()):
                if job.due <= time.monotonic():
                    self.tick(job)

    def commands(self) -> None:
        while len(self.buffer) >= 8:
            header, payload = framing.sizes(self.buffer[:8])
            end = 8 + header + payload
            if len(self.buffer) < end:
                return
            order = msgspec.msgpack.decode(self.buffer[8 : 8 + header], type=Command)
            body, self.buffer = self.buffer[8 + header : end], self.buffer[end:]
            self.obey(order, body)

    def obey(self, order: Command, body: bytes) -> None:
        match order:
            case Load():
                self.load(order)
            case Generate():
                self.generate(order)
            case Cancel():
                job = self.jobs.pop(order.request, None)
                if job:
                    self.finish(job, "cancelled")
            case Ping():
                pong = Pong(
                    request=order.request,
                    busy_slots=len(self.jobs),
                    waiting=0,
                    sequences=len(self.positions),
                    cache_entries=0,
                    cache_bytes=0,
                    resident_bytes=1,
                )
                self.send(pong)
            case Embed():
                vectors = struct.pack(f"<{2 * len(order.inputs)}f", *range(2 * len(order.inputs)))
                answer = Embeddings(request=order.request, count=len(order.inputs), width=2, prompt_tokens=3)
                self.send(answer, vectors)
            case Tokenize():
                text = words_of(order.prompt)
                self.send(Tokens(request=order.request, tokens=tuple(len(word) for word in text.split())))
            case Forward():
                self.positions[order.sequence] = order.position + order.rows
                answer = Hidden(
                    request=order.request, rows=order.wanted, width=1, kind="vectors", seconds=0.0
                )
                self.send(answer, body[len(body) - 4 * order.wanted :])
            case EndSequence():
                self.positions.pop(order.sequence, None)
            case SetThreads():
                self.threads = order.decode
            case Shutdown():
                sys.exit(0)

    def load(self, order: Load) -> None:
        with Path(order.window.files[0]).open("rb") as file:
            manner = file.readline().decode().strip()
        self.send(Progress(fraction=0.5))
        if manner == "abort":
            sys.stderr.write("gguf_init_from_file: failed to read tensor data\n")
            sys.stderr.flush()
            os.abort()
        if manner == "vanish":
            os.kill(os.getpid(), signal.SIGKILL)
        if manner == "hang":
            time.sleep(3600)
        if manner == "refuse":
            self.send(Failed(request=0, code="bad_model_file", message="The file is no model."))
            sys.exit(1)
        if manner == "slow":
            time.sleep(0.3)
        self.threads = order.threads
        info = ModelInfo(
            name="script",
            architecture="script",
            n_vocab=10,
            n_embd=1,
            n_layers=4,
            n_params=1,
            size_bytes=1,
            trained_context=64,
            chat_template="<tool_call>",
            bos_token="",
            eos_token="",
            gpu_layers=0,
            context_tokens=order.context_tokens,
            slots=order.slots,
            memory_bytes=0,
            pooling=None,
            threads=order.threads,
        )
        self.send(Loaded(info=info, warning="It is warm." if manner == "warn" else None))

    def generate(self, order: Generate) -> None:
        text = words_of(order.prompt)
        if text == "refuse":
            self.send(Failed(request=order.request, code="context_length_exceeded", message="Too long."))
            return
        job = self.jobs[order.request] = Job(order, text)
        self.send(Started(request=job.request, prompt_tokens=len(text.split()), cached_tokens=1))
        if job.stall:
            time.sleep(3600)

    def tick(self, job: Job) -> None:
        if job.raw is not None:
            for choice in range(job.n):
                for char in job.raw:
                    self.piece(job, choice, char)
        elif job.made < job.total:
            for choice in range(job.n):
                self.piece(job, choice, f"w{job.made} ")
            job.made += 1
            job.due = time.monotonic() + job.pause
            return
        elif job.die:
            os.kill(os.getpid(), signal.SIGKILL)
        del self.jobs[job.request]
        self.finish(job, "stop")

    def piece(self, job: Job, choice: int, text: str) -> None:
        chosen = TokenLogprob(1, text.encode(), -0.5, (AlternativeToken(2, b"x", -1.0),))
        self.send(
            Piece(
                request=job.request,
                choice=choice,
                text=text,
                tokens=(1,),
                logprobs=(chosen,) if job.logprobs else (),
            )
        )

    def finish(self, job: Job, reason: str) -> None:
        for choice in range(job.n):
            finished = Finished(request=job.request, choice=choice, reason=reason, completion_tokens=job.made)
            self.send(finished)
        self.send(
            Done(
                request=job.request,
                prompt_tokens=2,
                cached_tokens=1,
                completion_tokens=job.made * job.n,
                prefill_seconds=0.0,
                decode_seconds=0.0,
            )
        )


def words_of(prompt: object) -> str:
    if isinstance(prompt, ChatPrompt):
        return prompt.messages[-1].content
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return json.dumps(list(prompt.tokens))


if __name__ == "__main__":
    sys.exit(Worker(socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))).run())
