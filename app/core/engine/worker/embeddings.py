"""Embeddings: a second context over the same weights, made when first asked for and freed when idle.

Pooling happens inside one physical batch, so an input has to fit into one; the context is as large as
the longest input of a request asks for.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.engine.messages import Embed, Embeddings, Load
from app.core.engine.worker.link import Link
from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.context import Context, ContextOptions
from app.core.engine.worker.llama.lib import L
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.prompts import Prompter
from app.core.engine.worker.reports import failed
from app.core.kernel.errors import BadModelFile, ContextOverflow, InvalidRequest, SwarmError
from app.core.kernel.generation import Pooling

IDLE_SECONDS: Final = 60.0
MAX_INPUTS: Final = 2048
_NO_NUMBERS: Final = "The model computes values that are no numbers; its file is probably damaged."
_SEQUENCES: Final = 16
_STEP: Final = 512
_POOLING: Final[dict[Pooling, int]] = {
    "mean": L.LLAMA_POOLING_TYPE_MEAN,
    "last": L.LLAMA_POOLING_TYPE_LAST,
}
_OFFERED: Final = {number: name for name, number in _POOLING.items()}


def own_pooling(model: Model) -> int:
    """The pooling number that the file declares, LLAMA_POOLING_TYPE_NONE for none."""
    value = model.meta(f"{model.meta('general.architecture')}.pooling_type")
    return int(value) if value.isdigit() else int(L.LLAMA_POOLING_TYPE_NONE)


@dataclass
class _Job:
    command: Embed
    inputs: list[NDArray[np.int32]]
    pooling: int
    vectors: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass
class _Room:
    context: Context
    batch: Batch
    pooling: int


class Embedder:
    """Runs Embed commands, one batch of inputs per tick."""

    def __init__(self, *, model: Model, prompter: Prompter, load: Load, link: Link) -> None:
        self._model = model
        self._prompter = prompter
        self._load = load
        self._link = link
        self._threads = load.threads
        self._own_pooling = own_pooling(model)
        self._room: _Room | None = None
        self._jobs: list[_Job] = []
        self._used_at = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def pooling(self) -> Pooling | None:
        """The model's own pooling, where it declares one of those that can be asked for."""
        return _OFFERED.get(self._own_pooling)

    def submit(self, command: Embed) -> None:
        """Raises InvalidRequest or ContextOverflow."""
        if not 0 < len(command.inputs) <= MAX_INPUTS:
            raise InvalidRequest(f"A request for embeddings takes 1 to {MAX_INPUTS} inputs.", param="input")
        inputs = [self._tokens(item) for item in command.inputs]
        longest = max(len(tokens) for tokens in inputs)
        if longest > self._load.context_tokens:
            raise ContextOverflow(
                f"An input has {longest} tokens, but this model's context holds "
                f"{self._load.context_tokens} tokens.",
                param="input",
            )
        if self._own_pooling == L.LLAMA_POOLING_TYPE_RANK:
            raise InvalidRequest("This model ranks texts; it makes no embeddings.")
        self._jobs.append(_Job(command, inputs, self._pooling_for(command.pooling)))

    def cancel(self, request: int) -> None:
        self._jobs = [job for job in self._jobs if job.command.request != request]

    def set_threads(self, threads: int) -> None:
        self._threads = threads
        if self._room:
            self._room.context.set_threads(decode=threads, prefill=threads)

    def tick(self) -> None:
        job = self._jobs[0]
        try:
            self._run_batch(job)
        except SwarmError as error:
            self._jobs.remove(job)
            self._link.put(failed(job.command.request, error))
            return
        if len(job.vectors) == len(job.inputs):
            self._jobs.remove(job)
            self._answer(job)
        self._used_at = time.monotonic()

    def free_if_idle(self) -> None:
        if self._room and not self._jobs and time.monotonic() - self._used_at > IDLE_SECONDS:
            self._free()

    def idle_wait(self) -> float | None:
        """Seconds until `free_if_idle` may have something to free; None for never."""
        return IDLE_SECONDS if self._room else None

    def _free(self) -> None:
        if self._room:
            self._room.context.close()
            self._room = None

    def _tokens(self, item: str | tuple[int, ...]) -> NDArray[np.int32]:
        if isinstance(item, str):
            tokens = self._model.tokenize(item, add_special=True, parse_special=False)
        else:
            tokens = self._prompter.checked(item, param="input")
        if not len(tokens):
            raise InvalidRequest("An input for embeddings is empty.", param="input")
        return tokens

    def _pooling_for(self, asked: Pooling | None) -> int:
        if asked is not None:
            return int(_POOLING[asked])
        if self._own_pooling != L.LLAMA_POOLING_TYPE_NONE:
            return self._own_pooling
        return int(L.LLAMA_POOLING_TYPE_MEAN)

    def _run_batch(self, job: _Job) -> None:
        room = self._room_for(max(len(tokens) for tokens in job.inputs), job.pooling)
        group = _fitting(job.inputs[len(job.vectors) :], room.batch.capacity)
        room.context.clear()
        room.batch.clear()
        for sequence, tokens in enumerate(group):
            room.batch.extend(tokens, 0, sequence, wanted=len(tokens))
        code = room.context.decode(room.batch)
        if code:
            raise SwarmError(f"llama.cpp could not compute the embeddings (code {code}).")
        width = self._model.n_embd_out
        job.vectors.extend(room.context.embedding(sequence, width) for sequence in range(len(group)))

    def _room_for(self, longest: int, pooling: int) -> _Room:
        room = self._room
        if room and room.pooling == pooling and room.batch.capacity >= longest:
            return room
        self._free()
        capacity = -(-longest // _STEP) * _STEP
        options = ContextOptions(
            tokens=capacity,
            sequences=_SEQUENCES,
            batch=capacity,
            outputs=capacity,
            threads=self._threads,
            pooling=pooling,
        )
        self._room = _Room(Context(self._model, options), Batch(capacity), pooling)
        return self._room

    def _answer(self, job: _Job) -> None:
        vectors = np.stack(job.vectors)
        if not np.isfinite(vectors).all():
            self._link.put(failed(job.command.request, BadModelFile(_NO_NUMBERS)))
            return
        if job.command.normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        report = Embeddings(
            request=job.command.request,
            count=len(vectors),
            width=vectors.shape[1],
            prompt_tokens=sum(len(tokens) for tokens in job.inputs),
        )
        self._link.put(report, np.ascontiguousarray(vectors, np.float32).tobytes())


def _fitting(inputs: Sequence[NDArray[np.int32]], capacity: int) -> list[NDArray[np.int32]]:
    """The first inputs that fit into one batch together."""
    group: list[NDArray[np.int32]] = []
    for tokens in inputs[:_SEQUENCES]:
        if len(tokens) > capacity:
            break
        capacity -= len(tokens)
        group.append(tokens)
    return group
