"""/api/admin/models and its kin: what of a model is here, if it is sound, and what could be taken in."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from app.core.api.admin.fields import named_in_full, stored_fields
from app.core.api.admin.hub import download_fields
from app.core.api.admin.progress import answer_with_progress
from app.core.api.answers import json_response
from app.core.api.body import read_json
from app.core.api.ports import Engine, ModelEntry
from app.core.kernel.errors import NotFound
from app.core.models.discovery import Candidate
from app.core.models.hub.record import Download
from app.core.models.library import Library
from app.core.models.metadata import describe_metadata

MODELS = "/api/admin/models"
SHARD = MODELS + "/{id:.+}/shards/{index:[0-9]{1,6}}"


class LockBody(BaseModel):
    """`locked` false unlocks."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    locked: bool = True


class TakeBody(BaseModel):
    """`path` is one that the list of importable models names."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None


class AdminShards:
    """`downloads` are those under way and done. Other programs' models are looked for in `home` and where
    `environ` says.

    These routes come before those of whole models, whose ids may hold anything.
    """

    def __init__(
        self,
        *,
        library: Library,
        engine: Engine,
        downloads: Callable[[], Sequence[Download]],
        home: Path,
        environ: Mapping[str, str],
    ) -> None:
        self._library = library
        self._engine = engine
        self._downloads = downloads
        self._home = home
        self._environ = environ

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/admin/rescan-shards", self.rescan),
            web.get("/api/admin/shard-storage", self.storage),
            web.get(MODELS + "/importable", self.importable),
            web.post(MODELS + "/importable", self.take),
            web.get(MODELS + "/{id:.+}/metadata", self.metadata),
            web.get(MODELS + "/{id:.+}/status", self.status),
            web.post(MODELS + "/{id:.+}/verify", self.verify),
            web.delete(SHARD, self.remove),
            web.put(SHARD + "/lock", self.lock),
        ]

    async def rescan(self, _http: web.Request) -> web.Response:
        """Looks at the model folder anew and names the models that are not what they were."""
        before = {entry.id: entry for entry in self._library.models()}
        await self._library.rescan()
        after = {entry.id: entry for entry in self._library.models()}
        changed = sorted(name for name in before | after if before.get(name) != after.get(name))
        problems = [{"folder": each.folder, "reason": each.reason} for each in self._library.problems()]
        return json_response(
            {"status": "ok", "models_updated": changed, "count": len(changed), "problems": problems}
        )

    async def storage(self, _http: web.Request) -> web.Response:
        storage, memory = await self._library.storage(), self._memory()
        models = [_taken(entry, storage.models.get(entry.id, 0), memory) for entry in self._library.models()]
        return json_response(
            {
                "used_bytes": storage.used,
                "free_bytes": storage.free,
                "budget_bytes": storage.budget,
                "memory_bytes": sum(memory.values()),
                "models": models,
            }
        )

    async def importable(self, _http: web.Request) -> web.Response:
        """What Ollama, LM Studio and the Hugging Face cache hold."""
        return json_response({"models": [_candidate(each) for each in await self._found()]})

    async def take(self, http: web.Request) -> web.StreamResponse:
        """Imports one of those, with progress. What Ollama holds keeps Ollama's name."""
        body = await read_json(http, TakeBody)
        found = next((each for each in await self._found() if str(each.path) == body.path), None)
        if found is None:
            raise NotFound("No other program holds a model at this path.", param="path")
        name = body.name or (found.name if found.program == "ollama" else None)

        async def work(report: Callable[[float], None]) -> ModelEntry:
            return await self._library.import_file(
                found.path, name=name, repo=found.repo, revision=found.revision, progress=report
            )

        return await answer_with_progress(http, work, name="import a model of another program")

    async def metadata(self, http: web.Request) -> web.Response:
        """Raises NotFound where the metadata shard is not here."""
        entry = self._library.find(http.match_info["id"])
        manifest, shard = self._library.manifest(entry.id), self._library.shard_path(entry.id, 0)
        found = await asyncio.to_thread(describe_metadata, manifest, shard)
        return json_response({"model_id": entry.id, **found})

    async def status(self, http: web.Request) -> web.Response:
        """How much of the model is here, and the download that brings the rest, if one does."""
        entry = self._library.find(http.match_info["id"])
        downloads = [each for each in self._downloads() if entry.id in (each.model_id, each.id)]
        return json_response(
            {
                "model_id": entry.id,
                "name": entry.name,
                "complete": entry.complete,
                "loaded": self._is_loaded(entry),
                "held_bytes": entry.held_bytes,
                "size_bytes": entry.size_bytes,
                "shards": _states(entry),
                "problems": _problems(entry),
                "download": download_fields(downloads[-1]) if downloads else None,
            }
        )

    async def verify(self, http: web.Request) -> web.StreamResponse:
        """Hashes every shard, with progress; what is wrong is set aside and told at the end."""
        entry = self._library.find(http.match_info["id"])

        async def work(report: Callable[[float], None]) -> ModelEntry:
            return await self._library.verify(entry.id, progress=report)

        return await answer_with_progress(http, work, name=f"verify {entry.id}", loaded=self._is_loaded)

    async def remove(self, http: web.Request) -> web.Response:
        """Deletes one shard's file, after the model has left memory. 409 while it answers or is locked."""
        entry = named_in_full(self._library, http.match_info["id"])
        index = int(http.match_info["index"])
        self._library.require_removable(entry.id, index)
        if self._is_loaded(entry):
            await self._engine.unload(entry.id)
        entry = await self._library.remove_shard(entry.id, index)
        return json_response({"status": "removed", "shard_index": index} | self._changed(entry))

    async def lock(self, http: web.Request) -> web.Response:
        """A locked shard is not deleted, neither on its own nor to make room."""
        body = await read_json(http, LockBody)
        entry = self._library.find(http.match_info["id"])
        index = int(http.match_info["index"])
        entry = await self._library.lock_shard(entry.id, index, locked=body.locked)
        status = "locked" if body.locked else "unlocked"
        return json_response({"status": status, "shard_index": index} | self._changed(entry))

    def _changed(self, entry: ModelEntry) -> dict[str, Any]:
        fields = stored_fields(entry, loaded=self._is_loaded(entry))
        return {"model_id": entry.id, "model": fields}

    async def _found(self) -> Sequence[Candidate]:
        return await self._library.discover(self._home, self._environ)

    def _is_loaded(self, entry: ModelEntry) -> bool:
        return entry.id in self._memory()

    def _memory(self) -> Counter[str]:
        """Bytes in memory, by model."""
        memory: Counter[str] = Counter()
        for model in self._engine.loaded():
            memory[model.model] += model.memory_bytes
        return memory


def _taken(entry: ModelEntry, held: int, memory: Mapping[str, int]) -> dict[str, Any]:
    return {
        "model_id": entry.id,
        "name": entry.name,
        "held_bytes": held,
        "size_bytes": entry.size_bytes,
        "memory_bytes": memory.get(entry.id, 0),
        "shards": _states(entry),
        "locked": [shard.index for shard in entry.shards if shard.locked],
    }


def _states(entry: ModelEntry) -> dict[str, int]:
    counted = Counter(shard.state for shard in entry.shards)
    states = {state: counted[state] for state in ("present", "suspect", "missing", "quarantined")}
    return {"total": len(entry.shards)} | states


def _problems(entry: ModelEntry) -> list[dict[str, Any]]:
    return [{"shard_index": shard.index, "reason": shard.problem} for shard in entry.shards if shard.problem]


def _candidate(found: Candidate) -> dict[str, Any]:
    return {
        "program": found.program,
        "name": found.name,
        "path": str(found.path),
        "size_bytes": found.size_bytes,
        "repo": found.repo,
        "revision": found.revision,
    }
