"""Takes a request from any dialect: finds its model, waits for its turn, has it carried out, keeps count."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

import msgspec

from app.core.engine.engine import Engine
from app.core.engine.messages import Prompt
from app.core.kernel.errors import Conflict, ModelNotFound, SwarmError
from app.core.kernel.events import EventBus, RequestFinished
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResult,
    Finished,
    Started,
    Usage,
)
from app.core.scheduling.result import NoPlan
from app.core.swarm.admission import Admission
from app.core.swarm.execution import Executor, Library, LocalExecutor, Model, Stream
from app.core.swarm.local import LocalView

ANY_MODEL: Final = frozenset({"", "auto"})
LISTED: Final = 10
NOTHING: Final = "There is no complete model on this node yet"


class RouterLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that run at once, and that wait beyond those."""

    max_concurrent_requests: int = 10
    max_queued_requests: int = 512


class Totals(msgspec.Struct, kw_only=True):
    """What was done since the start. `finished` counts requests, `failed` and `cancelled` are among them."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Router:
    """The one door to inference. `priority` 0 is the user's own; higher numbers wait behind lower ones."""

    def __init__(
        self,
        *,
        engine: Engine,
        library: Library,
        bus: EventBus,
        limits: RouterLimits,
        default_model: str,
        clock: Callable[[], float],
    ) -> None:
        self._library = library
        self._bus = bus
        self._default_model = default_model
        self._clock = clock
        self._admission = Admission(running=limits.max_concurrent_requests, queued=limits.max_queued_requests)
        self._local = LocalExecutor(engine=engine, library=library)
        self._totals = Totals()
        self.view = LocalView()

    @property
    def totals(self) -> Totals:
        """A copy of the counts."""
        return msgspec.structs.replace(self._totals)

    @property
    def running(self) -> int:
        return self._admission.running

    @property
    def queued(self) -> int:
        return self._admission.queued

    def chat(self, request: ChatRequest, *, priority: int = 0) -> AsyncGenerator[Chunk, None]:
        """The answer as chunks; closing the generator cancels it, in the queue as well.

        Raises ModelNotFound, Conflict for a model that is not complete, Overloaded, and what the engine
        raises.
        """
        return self._stream(request.model, priority, lambda where, model: where.chat(model, request))

    def complete(self, request: CompletionRequest, *, priority: int = 0) -> AsyncGenerator[Chunk, None]:
        """As `chat`, for a plain continuation."""
        return self._stream(request.model, priority, lambda where, model: where.complete(model, request))

    async def embed(self, request: EmbeddingRequest, *, priority: int = 0) -> EmbeddingResult:
        """Vectors for the request's inputs. Raises as `chat`."""
        model = self.resolve(request.model)
        where = self._plan(model)
        account = Account(model=model.id, began=self._clock())
        try:
            async with self._admission.place(priority):
                result = await where.embed(model, request)
            account.prompt_tokens = result.prompt_tokens
        except BaseException as error:
            account.ended_by(error)
            raise
        finally:
            self._close(account)
        return result

    async def tokenize(self, model_name: str, prompt: Prompt) -> tuple[int, ...]:
        """The token ids of a prompt. Takes no place in the queue. Raises as `chat`."""
        model = self.resolve(model_name)
        return await self._plan(model).tokenize(model, prompt)

    def resolve(self, name: str) -> Model:
        """The model that a request means by `name`; "" and "auto" leave the choice to the node: the
        default model, else the first that is complete. Raises ModelNotFound, naming what there is.
        """
        wanted = self._default_model if name in ANY_MODEL else name
        if wanted in ANY_MODEL:
            first = next((model for model in self._library.models() if model.complete), None)
            if first is None:
                raise ModelNotFound(
                    "There is no complete model on this node yet; add one first.", param="model"
                )
            return first
        try:
            return self._library.find(wanted)
        except ModelNotFound as error:
            raise ModelNotFound(
                f"{error.message.rstrip('.')}. {self._what_there_is()}", param="model"
            ) from error

    def _what_there_is(self) -> str:
        names = [model.name for model in self._library.models() if model.complete]
        if not names:
            return f"{NOTHING}."
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        return f"This node has: {', '.join(names[:LISTED])}{more}."

    def _plan(self, model: Model) -> Executor:
        """Where the model runs. Raises Conflict if it cannot run anywhere."""
        placement = self.view.placement(model)
        if isinstance(placement, NoPlan):
            raise Conflict(
                f"Model {model.name!r} is not complete on this node. {placement.sentence}", param="model"
            )
        return self._local

    async def _stream(
        self, name: str, priority: int, begin: Callable[[Executor, Model], Awaitable[Stream]]
    ) -> AsyncGenerator[Chunk, None]:
        model = self.resolve(name)
        where = self._plan(model)
        account = Account(model=model.id, began=self._clock())
        try:
            async with self._admission.place(priority), aclosing(await begin(where, model)) as chunks:
                async for chunk in chunks:
                    account.note(chunk)
                    if isinstance(chunk, Usage):
                        self.view.measured(model, chunk, choices=account.choices)
                    yield chunk
        except BaseException as error:
            account.ended_by(error)
            raise
        finally:
            self._close(account)

    def _close(self, account: "Account") -> None:
        totals = self._totals
        totals.finished += 1
        totals.cancelled += account.outcome == "cancelled"
        totals.failed += account.outcome not in {"ok", "cancelled"}
        totals.prompt_tokens += account.prompt_tokens
        totals.completion_tokens += account.completion_tokens
        self._bus.publish(
            RequestFinished(
                model=account.model,
                seconds=self._clock() - account.began,
                prompt_tokens=account.prompt_tokens,
                completion_tokens=account.completion_tokens,
                outcome=account.outcome,
            )
        )


class Account:
    """What one request used. An answer that was cut short counts the parts that came."""

    def __init__(self, *, model: str, began: float) -> None:
        self.model = model
        self.began = began
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.choices = 0
        self.outcome = "ok"

    def note(self, chunk: Chunk) -> None:
        if isinstance(chunk, Started):
            self.prompt_tokens = chunk.prompt_tokens
        elif isinstance(chunk, Usage):
            self.prompt_tokens = chunk.prompt_tokens
            self.completion_tokens = chunk.completion_tokens
        elif isinstance(chunk, Finished):
            self.choices += 1
        else:
            self.completion_tokens += 1

    def ended_by(self, error: BaseException) -> None:
        if isinstance(error, SwarmError):
            self.outcome = error.code
        elif isinstance(error, GeneratorExit | asyncio.CancelledError):
            self.outcome = "cancelled"
        else:
            self.outcome = SwarmError.code
