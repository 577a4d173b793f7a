"""A server that speaks the node's API over real HTTP, with answers that the test chooses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.ui.backend import Connection

TOKEN = "test-token"


@dataclass
class ApiScript:
    """What the server does. `pieces` is the answer; with `hold` it waits for the client after them.

    `error` answers with that error object instead; `cut` breaks the connection after the pieces.
    """

    models: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {
                "id": "swarmllm-guide",
                "name": "swarmllm-guide",
                "quantization": "Q8_0",
                "size_bytes": 7_200_000,
            }
        ]
    )
    pieces: list[str] = field(default_factory=lambda: ["Hello ", "from the ", "**node**."])
    reasoning: list[str] = field(default_factory=list)
    delay: float = 0.0
    hold: bool = False
    cut: bool = False
    error: dict[str, Any] | None = None
    finish: str = "stop"
    seen: list[dict[str, Any]] = field(default_factory=list)
    hung_up: int = 0
    warnings: list[str] = field(default_factory=list)


class ScriptedApi:
    def __init__(self, script: ApiScript) -> None:
        self.script = script
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "ScriptedApi":
        application = web.Application()
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/v1/status", self._status)
        application.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.script.models})

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.1.0", "ready": True, "warnings": self.script.warnings})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        script = self.script
        script.seen.append(await request.json())
        if script.error is not None:
            return web.json_response({"error": script.error}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(response)
        except asyncio.CancelledError:
            script.hung_up += 1
            raise
        except ConnectionError:
            script.hung_up += 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        script = self.script
        parts = [("reasoning_content", text) for text in script.reasoning]
        parts += [("content", text) for text in script.pieces]
        for kind, text in parts:
            await _send(response, {"choices": [{"index": 0, "delta": {kind: text}}]})
            await asyncio.sleep(script.delay)
        if script.hold:
            await asyncio.sleep(3600)
        if script.cut:
            return
        await _send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": script.finish}]})
        usage = {"prompt_tokens": 12, "completion_tokens": len(parts)}
        timings = {"predicted_ms": 40.0 * len(parts)}
        await _send(response, {"choices": [], "usage": usage, "timings": timings})
        await response.write(b"data: [DONE]\n\n")


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


@asynccontextmanager
async def scripted_node(script: ApiScript) -> AsyncIterator[Connection]:
    """The server as the node of a windowed app."""
    async with ScriptedApi(script) as api:
        yield Connection(url=api.url, token=TOKEN, api_key="c0ffee" * 8)
