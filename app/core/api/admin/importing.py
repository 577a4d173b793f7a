"""POST /api/admin/models/import: takes a GGUF file into the library and streams how far it is.

The answer is newline-delimited JSON: {"fraction": 0.25} as the import goes on, then {"model": {...}} or an
error in OpenAI's shape. What fails before any progress is an ordinary HTTP error. A client that hangs up
cancels the import.
"""

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Final

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from app.core.api.admin.fields import stored_fields
from app.core.api.body import read_json
from app.core.api.openai.errors import error_body
from app.core.api.ports import Library, ModelEntry
from app.core.api.problems import problem_of
from app.core.api.sse import Outbox
from app.core.kernel.errors import InvalidRequest, NotFound, SwarmError

log = logging.getLogger(__name__)

HEADERS: Final = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
STEP: Final = 0.005


class ImportBody(BaseModel):
    """`path` is absolute, on the node's machine; `name` is what the model shall be called."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None


class ImportModel:
    def __init__(self, *, library: Library) -> None:
        self._library = library

    async def create(self, http: web.Request) -> web.StreamResponse:
        body = await read_json(http, ImportBody)
        path = await asyncio.to_thread(_file, body.path)
        outbox = Outbox()
        work = asyncio.create_task(self._work(path, body.name, outbox), name="import a model")
        try:
            return await _answer(http, work, outbox)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self, path: Path, name: str | None, outbox: Outbox) -> ModelEntry:
        loop = asyncio.get_running_loop()
        progress = _Progress(outbox, loop)
        try:
            return await self._library.import_file(path, name=name, progress=progress.report)
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


async def _answer(http: web.Request, work: asyncio.Task[ModelEntry], outbox: Outbox) -> web.StreamResponse:
    first = await outbox.take()
    if work.done():
        work.result()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(http)
    waiting = first
    while waiting:
        await response.write(waiting)
        waiting = await outbox.take()
    await asyncio.wait([work])
    await response.write(_last_line(work))
    await response.write_eof()
    return response


def _last_line(work: asyncio.Task[ModelEntry]) -> bytes:
    error = work.exception()
    if error is None:
        return _line({"model": stored_fields(work.result(), loaded=False)})
    if not isinstance(error, SwarmError):
        log.error("An import failed", exc_info=error)
    return error_body(problem_of(error)) + b"\n"


def _file(path: str) -> Path:
    """Raises InvalidRequest and NotFound."""
    if "\0" in path:
        raise InvalidRequest("'path' holds a character that no path has.", param="path")
    file = Path(path)
    if not file.is_absolute():
        raise InvalidRequest("'path' has to be absolute, as the node sees it.", param="path")
    try:
        found = file.is_file()
    except OSError:
        found = False
    if not found:
        raise NotFound(f"There is no file at {path}.", param="path")
    return file


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
