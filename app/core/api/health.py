"""GET /, /health, /health/ready (open to all) and /v1/status."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from app.core.api.answers import json_response, loaded_fields, model_fields
from app.core.api.ports import Engine, Library, Router
from app.core.api.status import NodeStatus


class Health:
    def __init__(
        self, *, status: Callable[[], NodeStatus], router: Router, library: Library, engine: Engine
    ) -> None:
        self._status = status
        self._router = router
        self._library = library
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.root),
            web.get("/health", self.health),
            web.get("/health/ready", self.ready),
            web.get("/v1/status", self.status),
        ]

    async def root(self, _http: web.Request) -> web.Response:
        return json_response({"name": "swarmllm", "api": "/v1", "health": "/health/ready"})

    async def health(self, _http: web.Request) -> web.Response:
        """The process answers; no more is said to those without a key."""
        return json_response({"status": "ok"})

    async def ready(self, _http: web.Request) -> web.Response:
        status = self._status()
        fields = {"ready": status.ready, "subsystems": status.subsystems}
        return json_response(fields, status=200 if status.ready else 503)

    async def status(self, _http: web.Request) -> web.Response:
        status = self._status()
        fields: dict[str, Any] = msgspec.to_builtins(status)
        return json_response(
            fields
            | {
                "ready": status.ready,
                "requests": {"running": self._router.running, "queued": self._router.queued},
                "models": [model_fields(entry) for entry in self._library.models()],
                "loaded": loaded_fields(self._engine),
            }
        )
