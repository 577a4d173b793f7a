"""Small helpers that every dialect's handlers share."""

from typing import Any

import msgspec
from aiohttp import web

from app.core.api.ports import Engine, ModelEntry

OWNER = "swarmllm"


def json_response(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def model_fields(entry: ModelEntry) -> dict[str, Any]:
    """A model as a client may want to show it, in OpenAI's fields where there are any."""
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
        "builtin": entry.builtin,
    }


def loaded_fields(engine: Engine) -> list[dict[str, Any]]:
    """The workers that are running."""
    return [
        {
            "model": model.model,
            "first_layer": model.first,
            "last_layer": model.last,
            "threads": model.threads,
            "memory_bytes": model.memory_bytes,
            "requests": model.requests,
            "idle_seconds": round(model.idle_seconds, 3),
        }
        for model in engine.loaded()
    ]
