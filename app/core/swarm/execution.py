"""Where a request runs. Today that is this node; remote nodes and pipelines are further executors."""

from collections.abc import AsyncGenerator
from typing import Protocol

from app.core.engine.engine import Engine
from app.core.engine.messages import Prompt
from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResult,
)
from app.core.kernel.window import Window
from app.core.swarm.local import Plannable

Stream = AsyncGenerator[Chunk, None]


class Model(Plannable, Protocol):
    """What routing needs to know of a model of the library."""

    @property
    def name(self) -> str: ...


class Library(Protocol):
    """The models on this node."""

    def models(self) -> tuple[Model, ...]: ...

    def find(self, name: str) -> Model:
        """Raises ModelNotFound."""
        ...

    async def window(self, model_id: str) -> Window:
        """The whole model."""
        ...


class Executor(Protocol):
    """Carries requests for one model out. Closing a generator cancels what is still running."""

    async def chat(self, model: Model, request: ChatRequest) -> Stream: ...
    async def complete(self, model: Model, request: CompletionRequest) -> Stream: ...
    async def embed(self, model: Model, request: EmbeddingRequest) -> EmbeddingResult: ...
    async def tokenize(self, model: Model, prompt: Prompt) -> tuple[int, ...]: ...


class LocalExecutor:
    """Runs whole models in this node's engine."""

    def __init__(self, *, engine: Engine, library: Library) -> None:
        self._engine = engine
        self._library = library

    async def chat(self, model: Model, request: ChatRequest) -> Stream:
        return self._engine.chat(model.id, await self._window(model), request)

    async def complete(self, model: Model, request: CompletionRequest) -> Stream:
        return self._engine.complete(model.id, await self._window(model), request)

    async def embed(self, model: Model, request: EmbeddingRequest) -> EmbeddingResult:
        return await self._engine.embed(model.id, await self._window(model), request)

    async def tokenize(self, model: Model, prompt: Prompt) -> tuple[int, ...]:
        return await self._engine.tokenize(model.id, await self._window(model), prompt)

    async def _window(self, model: Model) -> Window:
        """Asking the library costs disk accesses, so a model that runs already is used as it is."""
        return self._engine.running_window(model.id) or await self._library.window(model.id)
