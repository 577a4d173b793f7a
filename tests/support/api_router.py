"""Doubles for the parts below the API, that say what a test scripts; everything above them is real."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from app.core.kernel.errors import ModelNotFound
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResult,
    Finished,
    Started,
    TextDelta,
    Usage,
)
from app.core.kernel.window import Window


def answer(*texts: str, choice: int = 0, reason: str = "stop") -> list[Chunk]:
    """The chunks of one choice, without Started and Usage."""
    deltas = [TextDelta(text=text, choice=choice) for text in texts]
    return [*deltas, Finished(reason=reason, choice=choice, completion_tokens=len(texts))]


def whole(*chunks: Chunk, prompt: int = 7, cached: int = 3, completion: int = 2) -> list[Chunk]:
    """`chunks` between Started and Usage."""
    return [
        Started(model="guide", prompt_tokens=prompt, cached_tokens=cached),
        *chunks,
        Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            prefill_seconds=0.5,
            decode_seconds=0.25,
        ),
    ]


Step = Chunk | Exception | asyncio.Event


@dataclass
class ScriptedRouter:
    """Answers every request with `script`; an Event is waited for, an exception raised.

    `requests` are those that came; `opened` is set when an answer began, `closed` when one ended, however
    it did; `open` counts the answers that are running.
    """

    script: Sequence[Step] = field(default_factory=lambda: whole(*answer("Hel", "lo")))
    requests: list[ChatRequest | CompletionRequest | EmbeddingRequest] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0
    queued: int = 0

    @property
    def running(self) -> int:
        return self.open

    @property
    def last(self) -> Any:
        return self.requests[-1]

    def chat(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        return self._play(request)

    def complete(self, request: CompletionRequest) -> AsyncIterator[Chunk]:
        return self._play(request)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        self.requests.append(request)
        for step in self.script:
            if isinstance(step, Exception):
                raise step
        rows = [(float(index), 0.5, -0.25) for index in range(len(request.inputs))]
        vectors = b"".join(struct.pack("=3f", *row) for row in rows)
        return EmbeddingResult(vectors=vectors, count=len(rows), width=3, prompt_tokens=5)

    async def _play(self, request: ChatRequest | CompletionRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        self.open += 1
        self.opened.set()
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.open -= 1
            self.closed.set()


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    index: int = 0
    kind: str = "layers"
    first: int = 0
    last: int = 8
    size_bytes: int = 7_000_000
    state: str = "present"
    locked: bool = False
    problem: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str = "Guide"
    architecture: str = "llama"
    quantization: str = "Q8_0"
    size_bytes: int = 7_000_000
    n_layers: int = 8
    n_embd: int = 256
    context_length: int = 1024
    license: str = "Apache-2.0"
    source: str = ""
    complete: bool = True
    created: int = 1_790_000_000
    held_bytes: int = 7_000_000
    n_params: int = 7_000_000
    builtin: bool = False
    shards: tuple[Shard, ...] = (Shard(), Shard(index=1, state="missing"))


@dataclass
class ListedLibrary:
    """A library in memory. `import_file` reports half and full progress; `failure` makes it raise."""

    entries: dict[str, Entry] = field(default_factory=lambda: {"guide": Entry(id="guide")})
    failure: Exception | None = None

    def models(self) -> tuple[Entry, ...]:
        return tuple(self.entries.values())

    def find(self, name: str) -> Entry:
        found = [entry for entry in self.entries.values() if entry.id.startswith(name) or entry.name == name]
        if not found:
            raise ModelNotFound(f"There is no model '{name}' on this node.", param="model")
        return found[0]

    async def import_file(
        self, path: Path, *, name: str | None = None, progress: Callable[[float], None]
    ) -> Entry:
        progress(0.5)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        progress(1.0)
        entry = Entry(id=path.stem, name=name or path.stem)
        self.entries[entry.id] = entry
        return entry

    async def window(self, model_id: str) -> Window:
        return Window(files=(f"{model_id}.gguf",), architecture="llama", first=0, last=8, n_layers=8)

    async def remove(self, model_id: str) -> None:
        del self.entries[self.find(model_id).id]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    first: int = 0
    last: int = 8
    threads: int = 2
    memory_bytes: int = 1 << 20
    requests: int = 0
    idle_seconds: float = 1.5


@dataclass
class IdleEngine:
    """An engine that remembers which models it was told to load."""

    models: dict[str, Window] = field(default_factory=dict)

    async def load(self, model: str, window: Window) -> None:
        self.models[model] = window

    async def unload(self, model: str) -> None:
        self.models.pop(model, None)

    def loaded(self) -> tuple[Loaded, ...]:
        return tuple(Loaded(model=model) for model in self.models)
