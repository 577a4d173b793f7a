"""What of its models the node holds, whether it is sound, and what other programs hold."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from app.client.types import StoredModel

MODELS: Final = "/api/admin/models"


class ShardCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many shards a model has, and how many of them are in each state."""

    total: int
    present: int = 0
    suspect: int = 0
    missing: int = 0
    quarantined: int = 0


class ShardProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a shard was set aside."""

    shard_index: int
    reason: str


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a model is on the node."""

    model_id: str
    shards: ShardCounts
    name: str = ""
    complete: bool = True
    loaded: bool = False
    held_bytes: int = 0
    size_bytes: int = 0
    problems: tuple[ShardProblem, ...] = ()


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes on disk, and in memory."""

    model_id: str
    shards: ShardCounts
    name: str = ""
    held_bytes: int = 0
    size_bytes: int = 0
    memory_bytes: int = 0
    locked: tuple[int, ...] = ()


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """What all models take. `budget_bytes` is what they may take, 0 if only the disk sets a limit."""

    used_bytes: int = 0
    free_bytes: int = 0
    budget_bytes: int = 0
    memory_bytes: int = 0
    models: tuple[Taken, ...] = ()


class Importable(msgspec.Struct, frozen=True, kw_only=True):
    """A model that another program holds: "ollama", "lmstudio" or "huggingface"."""

    program: str
    name: str
    path: str
    size_bytes: int = 0
    repo: str = ""
    revision: str = ""


class _Importables(msgspec.Struct):
    models: tuple[Importable, ...]


class _Changed(msgspec.Struct):
    model: StoredModel


class _Rescanned(msgspec.Struct):
    models_updated: tuple[str, ...]


class Store:
    """`call` sends a request and returns the answer as the given type; `follow` one that tells its progress
    and ends with a model. Failures are ClientErrors.
    """

    def __init__(
        self, *, call: Callable[..., Awaitable[Any]], follow: Callable[..., Awaitable[StoredModel]]
    ) -> None:
        self._call = call
        self._follow = follow

    async def storage(self) -> Storage:
        found: Storage = await self._call("GET", "/api/admin/shard-storage", Storage)
        return found

    async def status(self, model: str) -> ModelStatus:
        found: ModelStatus = await self._call("GET", f"{_of(model)}/status", ModelStatus)
        return found

    async def metadata(self, model: str) -> dict[str, Any]:
        """What the model's file says of itself, without its vocabulary; docs/api.md has the fields."""
        found: dict[str, Any] = await self._call("GET", f"{_of(model)}/metadata", dict[str, Any])
        return found

    async def rescan(self) -> tuple[str, ...]:
        """Has the node look at its model folder anew; returns the ids of models that changed."""
        answer: _Rescanned = await self._call("POST", "/api/admin/rescan-shards", _Rescanned)
        return answer.models_updated

    async def verify(self, model: str, *, progress: Callable[[float], None] | None = None) -> StoredModel:
        """Hashes every shard of the model; returns it with what is wrong set aside.

        `progress` is called with fractions from 0 to 1. Cancelling the task ends the check.
        """
        return await self._follow(f"{_of(model)}/verify", None, progress)

    async def importable(self) -> tuple[Importable, ...]:
        """What Ollama, LM Studio and the Hugging Face cache hold on the node's machine."""
        answer: _Importables = await self._call("GET", f"{MODELS}/importable", _Importables)
        return answer.models

    async def take(
        self,
        path: str,
        *,
        name: str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> StoredModel:
        """Takes one of those in. Cancelling the task cancels the import."""
        body = {"path": path} | ({} if name is None else {"name": name})
        return await self._follow(f"{MODELS}/importable", body, progress)

    async def lock(self, model: str, shard: int, *, locked: bool = True) -> StoredModel:
        """Keeps a shard from being deleted, or no longer."""
        path = f"{_of(model)}/shards/{shard}/lock"
        answer: _Changed = await self._call("PUT", path, _Changed, {"locked": locked})
        return answer.model

    async def remove_shard(self, model: str, shard: int) -> StoredModel:
        """Deletes one shard's file."""
        answer: _Changed = await self._call("DELETE", f"{_of(model)}/shards/{shard}", _Changed)
        return answer.model


def _of(model: str) -> str:
    return f"{MODELS}/{quote(model, safe='')}"
