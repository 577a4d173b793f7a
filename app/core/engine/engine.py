"""The engine as the rest of the node sees it: requests in, chunks out, workers behind it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from app.core.engine import messages
from app.core.engine.answers import ChatAnswer, TextAnswer, confused
from app.core.engine.chat import detect_family, random_call_id
from app.core.engine.entries import Entry
from app.core.engine.fleet import Fleet
from app.core.engine.limits import EngineLimits
from app.core.engine.machine import Machine
from app.core.engine.worker_link import WorkerLink
from app.core.kernel.errors import SwarmError, Unsupported, WorkerCrashed
from app.core.kernel.events import EventBus
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResult,
)
from app.core.kernel.window import Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is running. `pulse` is what it last told of itself, if it has been asked."""

    model: str
    first: int
    last: int
    info: messages.ModelInfo
    pid: int
    threads: int
    memory_bytes: int
    requests: int
    sequences: int
    idle_seconds: float
    pulse: messages.Pong | None = None


class HiddenStates(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that came out of a window: float32 [rows, width], row-major."""

    rows: int
    width: int
    kind: Literal["vectors", "logits"]
    data: bytes
    seconds: float

    def array(self) -> "npt.NDArray[np.float32]":
        """The rows as a read-only NumPy array."""
        import numpy as np  # noqa: PLC0415 - costs memory that a node without slices need not spend

        return np.frombuffer(self.data, dtype=np.float32).reshape(self.rows, self.width)


class Engine:
    """Runs models in worker processes. An async context manager; leaving it ends all workers.

    A model is loaded when it is first needed. Every method that needs a worker may raise LoadFailed,
    OutOfMemory, BadModelFile, and WorkerCrashed if the worker ends meanwhile.
    """

    def __init__(
        self,
        *,
        limits: EngineLimits,
        bus: EventBus,
        worker_command: Sequence[str],
        clock: Callable[[], float],
        machine: Machine | None = None,
        new_call_id: Callable[[], str] = random_call_id,
    ) -> None:
        self._clock = clock
        self._new_call_id = new_call_id
        self._fleet = Fleet(
            limits=limits,
            bus=bus,
            worker_command=worker_command,
            clock=clock,
            machine=machine or Machine(),
        )

    async def __aenter__(self) -> Self:
        await self._fleet.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._fleet.__aexit__(kind, error, trace)

    def chat(self, model: str, window: Window, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """The answer to a conversation. Closing the generator cancels what is still running.

        Raises InvalidRequest and its kin (ContextOverflow, InvalidGrammar, Unsupported).
        """
        prompt = messages.ChatPrompt(
            messages=request.messages,
            tools=request.tools,
            tool_choice=request.tool_choice,
            parallel_tool_calls=request.parallel_tool_calls,
            template_options=request.template_options,
        )

        def new_answer(link: WorkerLink) -> ChatAnswer:
            return ChatAnswer(
                request=request,
                model=model,
                family=detect_family(link.info.chat_template),
                new_call_id=self._new_call_id,
            )

        generate = messages.Generate(request=0, prompt=prompt, sampling=request.sampling, n=request.n)
        return self._generate(model, window, generate, new_answer)

    def complete(self, model: str, window: Window, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
        """The continuation of a text. As `chat`; raises Unsupported for `echo` of token ids."""
        prompt: messages.Prompt
        if isinstance(request.prompt, str):
            prompt = messages.TextPrompt(text=request.prompt)
            echo = request.prompt if request.echo else ""
        elif request.echo:
            raise Unsupported("A prompt of token ids cannot be echoed; send it as text.", param="echo")
        else:
            prompt, echo = messages.TokenPrompt(tokens=request.prompt), ""
        generate = messages.Generate(request=0, prompt=prompt, sampling=request.sampling, n=request.n)
        answer = TextAnswer(model=model, choices=request.n, echo=echo)
        return self._generate(model, window, generate, lambda _: answer)

    async def _generate(
        self,
        model: str,
        window: Window,
        generate: messages.Generate,
        new_answer: Callable[[WorkerLink], ChatAnswer | TextAnswer],
    ) -> AsyncGenerator[Chunk, None]:
        async with self._fleet.lease(model, window) as link:
            answer = new_answer(link)
            await link.drained()
            inbox = link.open(_numbered(generate))
            try:
                while True:
                    report, _ = await inbox.get()
                    for chunk in answer.chunks(report):
                        yield chunk
                    if type(report) is messages.Done:
                        return
            finally:
                link.close(inbox)

    async def embed(self, model: str, window: Window, request: EmbeddingRequest) -> EmbeddingResult:
        """Vectors for the request's inputs, in their order. Raises ContextOverflow, Unsupported."""
        command = messages.Embed(
            request=0, inputs=request.inputs, pooling=request.pooling, normalize=request.normalize
        )
        async with self._fleet.lease(model, window) as link:
            report, payload = await link.call(_numbered(command))
        if not isinstance(report, messages.Embeddings) or len(payload) != report.count * report.width * 4:
            raise confused(model)
        return EmbeddingResult(
            vectors=payload, count=report.count, width=report.width, prompt_tokens=report.prompt_tokens
        )

    async def tokenize(self, model: str, window: Window, prompt: messages.Prompt) -> tuple[int, ...]:
        """The token ids of a prompt, a conversation rendered by the model's template."""
        command = messages.Tokenize(request=0, prompt=prompt)
        async with self._fleet.lease(model, window) as link:
            report, _ = await link.call(_numbered(command))
        if not isinstance(report, messages.Tokens):
            raise confused(model)
        return report.tokens

    async def forward(
        self,
        model: str,
        window: Window,
        *,
        sequence: int,
        position: int,
        inputs: "npt.NDArray[np.float32] | npt.NDArray[np.int32]",
        wanted: int,
    ) -> HiddenStates:
        """Runs rows of one sequence through the window and returns the last `wanted` of what comes out.

        `inputs` is C-contiguous float32 [rows, n_embd] for a window that takes vectors, else int32
        [rows] token ids. `sequence` is the caller's number for it, unique per window; its state stays in
        the worker until `end_sequence`. Raises WorkerCrashed if that state was lost with its worker.
        """
        command = messages.Forward(
            request=0, sequence=sequence, position=position, rows=len(inputs), wanted=wanted
        )
        async with self._fleet.lease(model, window) as link:
            if position and sequence not in link.sequences:
                raise WorkerCrashed(
                    f"The state of this sequence of model {model!r} was lost when its worker ended."
                )
            link.sequences.add(sequence)
            report, payload = await link.call(_numbered(command), inputs.data.cast("B"))
        if not isinstance(report, messages.Hidden) or len(payload) != report.rows * report.width * 4:
            raise confused(model)
        return HiddenStates(
            rows=report.rows, width=report.width, kind=report.kind, data=payload, seconds=report.seconds
        )

    def end_sequence(self, model: str, window: Window, *, sequence: int) -> None:
        """Frees what `forward` kept; nothing happens if it is gone already."""
        entry = self._fleet.find(model, window)
        if entry is not None and sequence in entry.link.sequences:
            entry.link.sequences.discard(sequence)
            entry.link.tell(messages.EndSequence(sequence=sequence))

    async def load(self, model: str, window: Window) -> messages.ModelInfo:
        """Loads the model now, if it is not loaded, and tells what its worker learned of it."""
        async with self._fleet.lease(model, window) as link:
            return link.info

    async def unload(self, model: str, *, force: bool = False) -> bool:
        """Ends the model's workers; whether there were any. Raises Conflict if one is answering, unless
        `force`: then its requests end in WorkerCrashed.
        """
        return await self._fleet.unload(model, force=force) > 0

    def running_window(self, model: str) -> Window | None:
        """The window of the whole model, if a worker has it loaded."""
        windows = (entry.window for entry in self._fleet.entries if entry.key.model == model and entry.ready)
        return next((window for window in windows if window.whole), None)

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Workers that are ready, the least recently used first."""
        now = self._clock()
        return tuple(_loaded(entry, now) for entry in self._fleet.entries if entry.ready)

    async def stats(self) -> tuple[LoadedModel, ...]:
        """As `loaded`, with a pulse from each worker that answers within a second."""
        links = [entry.link for entry in self._fleet.entries if entry.ready]
        await asyncio.gather(*(_pulse(link) for link in links))
        return self.loaded()


def _numbered(
    command: messages.Generate | messages.Embed | messages.Tokenize | messages.Forward,
) -> Callable[[int], messages.Command]:
    return lambda request: msgspec.structs.replace(command, request=request)


async def _pulse(link: WorkerLink) -> None:
    try:
        async with asyncio.timeout(1.0):
            report, _ = await link.call(lambda request: messages.Ping(request=request))
    except (SwarmError, TimeoutError):
        return
    if isinstance(report, messages.Pong):
        link.last_pong = report


def _loaded(entry: Entry, now: float) -> LoadedModel:
    return LoadedModel(
        model=entry.key.model,
        first=entry.key.first,
        last=entry.key.last,
        info=entry.link.info,
        pid=entry.link.pid,
        threads=entry.link.threads,
        memory_bytes=entry.plan.memory_bytes,
        requests=entry.leases,
        sequences=len(entry.link.sequences),
        idle_seconds=0.0 if entry.leases else max(0.0, now - entry.last_used),
        pulse=entry.link.last_pong,
    )
