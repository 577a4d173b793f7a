"""GET /v1/models and /v1/models/{id}."""

from aiohttp import web

from app.core.api.answers import json_response, model_fields
from app.core.api.ports import Library
from app.core.kernel.errors import ModelNotFound


class Models:
    def __init__(self, *, library: Library) -> None:
        self._library = library

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/models", self.list), web.get("/v1/models/{id:.+}", self.one)]

    async def list(self, _http: web.Request) -> web.Response:
        entries = [model_fields(entry) for entry in self._library.models() if entry.complete]
        return json_response({"object": "list", "data": entries})

    async def one(self, http: web.Request) -> web.Response:
        """By id, name or a unique beginning of one, as requests name models."""
        entry = self._library.find(http.match_info["id"])
        if not entry.complete:
            raise ModelNotFound(f"The model '{entry.id}' is not complete yet.", param="model")
        return json_response(model_fields(entry))
