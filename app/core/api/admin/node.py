"""/api/admin: the node's statistics, configuration, key and end."""

import os
import platform
from collections.abc import Callable, Iterable
from functools import partial
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
    starts the node's end and returns at once. Without them their endpoints do not exist."""

    def __init__(
        self,
        *,
        status: Callable[[], NodeStatus],
        engine: Engine,
        tally: Tally,
        keys: Keys,
        config: Callable[[], Iterable[Any]] | None,
        shutdown: Callable[[], None] | None,
    ) -> None:
        self._status = status
        self._engine = engine
        self._tally = tally
        self._keys = keys
        self._config = config
        self._shutdown = shutdown

    def routes(self) -> list[web.RouteDef]:
        routes = [web.get("/api/admin/stats", self.stats), web.get("/api/admin/api-key", self.api_key)]
        if self._config is not None:
            routes.append(web.get("/api/admin/config", partial(_config, self._config)))
        if self._shutdown is not None:
            routes.append(web.post("/api/admin/shutdown", partial(_shutdown, self._shutdown)))
        return routes

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

    async def api_key(self, _http: web.Request) -> web.Response:
        response = json_response({"api_key": self._keys.api_key})
        response.headers["Cache-Control"] = "no-store"
        return response


async def _config(rows: Callable[[], Iterable[Any]], _http: web.Request) -> web.Response:
    return json_response({"options": [msgspec.to_builtins(row) for row in rows()]})


async def _shutdown(shutdown: Callable[[], None], _http: web.Request) -> web.Response:
    shutdown()
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
