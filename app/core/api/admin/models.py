"""/api/admin/models: what is on disk and what is in memory."""

from aiohttp import web

from app.core.api.admin.fields import named_in_full, stored_fields
from app.core.api.admin.importing import ImportModel
from app.core.api.answers import json_response
from app.core.api.ports import Engine, Library


class AdminModels:
    def __init__(self, *, library: Library, engine: Engine) -> None:
        self._library = library
        self._engine = engine
        self._importing = ImportModel(library=library)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/admin/models", self.list),
            web.post("/api/admin/models/import", self._importing.create),
            web.delete("/api/admin/models/{id:.+}", self.remove),
            web.post("/api/admin/models/{id:.+}/load", self.load),
            web.post("/api/admin/models/{id:.+}/unload", self.unload),
        ]

    async def list(self, _http: web.Request) -> web.Response:
        loaded = self._loaded()
        models = [stored_fields(entry, loaded=entry.id in loaded) for entry in self._library.models()]
        return json_response({"models": models})

    async def remove(self, http: web.Request) -> web.Response:
        """Takes the model out of memory, then off the disk. A beginning of its name is not enough."""
        entry = named_in_full(self._library, http.match_info["id"])
        if entry.id in self._loaded():
            await self._engine.unload(entry.id)
        await self._library.remove(entry.id)
        return json_response({"status": "removed", "model_id": entry.id})

    async def load(self, http: web.Request) -> web.Response:
        """Answers when the model can be asked."""
        entry = self._library.find(http.match_info["id"])
        await self._engine.load(entry.id, await self._library.window(entry.id))
        return json_response({"status": "loaded", "model_id": entry.id})

    async def unload(self, http: web.Request) -> web.Response:
        """Frees the model's memory; a model that is not loaded is no error."""
        entry = self._library.find(http.match_info["id"])
        await self._engine.unload(entry.id)
        return json_response({"status": "unloaded", "model_id": entry.id, "model_name": entry.name})

    def _loaded(self) -> set[str]:
        return {model.model for model in self._engine.loaded()}
