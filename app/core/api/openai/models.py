"""GET /v1/models and /v1/models/{id}."""

from typing import Any

import msgspec
from aiohttp import web

from app.core.api.ports import Library, ModelEntry
from app.core.kernel.errors import ModelNotFound

OWNER = "swarmllm"


class Models:
    def __init__(self, *, library: Library) -> None:
        self._library = library

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/models", self.list), web.get("/v1/models/{id:.+}", self.one)]

    async def list(self, _http: web.Request) -> web.Response:
        entries = [model_fields(entry) for entry in self._library.models() if entry.complete]
        return _json({"object": "list", "data": entries})

    async def one(self, http: web.Request) -> web.Response:
        """By id, name or a unique beginning of one, as requests name models."""
        entry = self._library.find(http.match_info["id"])
        if not entry.complete:
            raise ModelNotFound(f"The model '{entry.id}' is not complete yet.", param="model")
        return _json(model_fields(entry))


def model_fields(entry: ModelEntry) -> dict[str, Any]:
    """OpenAI's fields, then what else a client may want to show."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": OWNER,
        "name": entry.name,
        "architecture": entry.architecture,
        "quantization": entry.quantization,
        "size_bytes": entry.size_bytes,
        "context_length": entry.context_length,
    }


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
