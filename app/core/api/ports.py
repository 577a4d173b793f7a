"""What the API needs of the parts below it, as narrow as it uses them."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from app.core.kernel.generation import (
    ChatRequest,
    Chunk,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResult,
)
from app.core.kernel.window import Window


class Router(Protocol):
    """Carries requests out, wherever the model runs. Ending an iterator ends its generation."""

    def chat(self, request: ChatRequest, /) -> AsyncIterator[Chunk]: ...

    def complete(self, request: CompletionRequest, /) -> AsyncIterator[Chunk]: ...

    async def embed(self, request: EmbeddingRequest, /) -> EmbeddingResult: ...


class ModelEntry(Protocol):
    """A model in the library."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def quantization(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def context_length(self) -> int: ...
    @property
    def license(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def complete(self) -> bool: ...
    @property
    def created(self) -> int: ...


class Library(Protocol):
    """The models on this disk."""

    def models(self) -> Sequence[ModelEntry]: ...

    def find(self, name: str, /) -> ModelEntry: ...

    async def import_file(
        self, path: Path, /, *, name: str | None = None, progress: Callable[[float], None]
    ) -> ModelEntry: ...

    async def window(self, model_id: str, /) -> Window: ...

    async def remove(self, model_id: str, /) -> None: ...


class Engine(Protocol):
    """The workers."""

    async def load(self, model: str, window: Window, /) -> Any: ...

    async def unload(self, model: str, /) -> Any: ...

    def loaded(self) -> Sequence[Any]: ...


class NodeOptions(Protocol):
    @property
    def listen_port(self) -> int: ...


class ApiOptions(Protocol):
    @property
    def rate_limit_rpm(self) -> int: ...
    @property
    def rate_limit_admin_rpm(self) -> int: ...


class Settings(Protocol):
    """The options that the API reads."""

    @property
    def node(self) -> NodeOptions: ...
    @property
    def api(self) -> ApiOptions: ...
