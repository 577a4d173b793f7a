"""/api/admin: the node's statistics, configuration, key and end."""

import os
import platform
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import psutil
from aiohttp import web

from app.core.api.answers import json_response, loaded_fields
from app.core.api.ports import Engine
from app.core.api.security.keys import Keys
from app.core.api.status import NodeStatus
from app.core.api.tally import Tally


class AdminNode:
    """`config` gives the effective options as rows (msgspec structs, dataclasses or dicts); `shutdown`
    starts the node's end and returns at once."""

    def __init__(
        self,
        *,
        status: Callable[[], NodeStatus],
        engine: Engine,
        tally: Tally,
        keys: Keys,
        config: Callable[[], Iterable[Any]],
        shutdown: Callable[[], None],
    ) -> None:
        self._status = status
        self._engine = engine
        self._tally = tally
        self._keys = keys
        self._config = config
        self._shutdown = shutdown

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/admin/stats", self.stats),
            web.get("/api/admin/config", self.config),
            web.get("/api/admin/api-key", self.api_key),
            web.post("/api/admin/shutdown", self.shutdown),
        ]

    async def stats(self, _http: web.Request) -> web.Response:
        status = self._status()
        return json_response(
            {
                "version": status.version,
                "uptime_seconds": status.uptime_seconds,
                "inference": msgspec.to_builtins(self._tally.counts()),
                "loaded": loaded_fields(self._engine),
                "hardware": _hardware(),
            }
        )

    async def config(self, _http: web.Request) -> web.Response:
        return json_response({"options": [msgspec.to_builtins(row) for row in self._config()]})

    async def api_key(self, _http: web.Request) -> web.Response:
        response = json_response({"api_key": self._keys.api_key})
        response.headers["Cache-Control"] = "no-store"
        return response

    async def shutdown(self, _http: web.Request) -> web.Response:
        self._shutdown()
        return json_response({"status": "stopping"}, status=202)


def _hardware() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "node_memory_bytes": psutil.Process().memory_info().rss,
    }
