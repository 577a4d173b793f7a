"""Work that takes long, answered as newline-delimited JSON.

{"fraction": 0.25} as it goes on, then a last line, {"model": {...}}, or an error in OpenAI's shape. What
fails before any progress is an ordinary HTTP error. A client that hangs up cancels the work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from app.core.api.admin.fields import stored_fields
from app.core.api.openai.errors import error_body
from app.core.api.ports import ModelEntry
from app.core.api.problems import problem_of
from app.core.api.sse import Outbox
from app.core.kernel.errors import SwarmError

log = logging.getLogger(__name__)

HEADERS: Final = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
STEP: Final = 0.005

Work = Callable[[Callable[[float], None]], Awaitable[ModelEntry]]


async def answer_with_progress(
    http: web.Request, work: Work, *, name: str, loaded: Callable[[ModelEntry], bool] = lambda _: False
) -> web.StreamResponse:
    """Runs `work(report)` in a task called `name`; `report` may be called from any thread.

    `loaded` tells of the model at the end whether it is in memory.
    """
    outbox = Outbox()
    task = asyncio.create_task(_watched(work, outbox), name=name)
    try:
        return await _answer(http, task, outbox, loaded)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watched(work: Work, outbox: Outbox) -> ModelEntry:
    loop = asyncio.get_running_loop()
    try:
        return await work(_Progress(outbox, loop).report)
    finally:
        # Reports are still on their way through the loop's queue; the end comes after them.
        loop.call_soon(outbox.close)


class _Progress:
    """Takes fractions from any thread; passes on those that a person would notice."""

    def __init__(self, outbox: Outbox, loop: asyncio.AbstractEventLoop) -> None:
        self._outbox = outbox
        self._loop = loop
        self._shown = -1.0

    def report(self, fraction: float) -> None:
        if fraction - self._shown >= STEP or fraction >= 1 > self._shown:
            self._shown = fraction
            self._loop.call_soon_threadsafe(self._outbox.put, _line({"fraction": round(fraction, 4)}))


async def _answer(
    http: web.Request,
    task: asyncio.Task[ModelEntry],
    outbox: Outbox,
    loaded: Callable[[ModelEntry], bool],
) -> web.StreamResponse:
    first = await outbox.take()
    if task.done():
        task.result()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(http)
    waiting = first
    while waiting:
        await response.write(waiting)
        waiting = await outbox.take()
    await asyncio.wait([task])
    await response.write(_last_line(task, loaded))
    await response.write_eof()
    return response


def _last_line(task: asyncio.Task[ModelEntry], loaded: Callable[[ModelEntry], bool]) -> bytes:
    error = task.exception()
    if error is None:
        entry = task.result()
        return _line({"model": stored_fields(entry, loaded=loaded(entry))})
    if not isinstance(error, SwarmError):
        log.error("%s failed", task.get_name(), exc_info=error)
    return error_body(problem_of(error)) + b"\n"


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"
