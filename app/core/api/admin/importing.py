"""POST /api/admin/models/import: takes a GGUF file into the library and streams how far it is."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, StringConstraints

from app.core.api.admin.progress import answer_with_progress
from app.core.api.body import read_json
from app.core.api.ports import Library, ModelEntry
from app.core.kernel.errors import InvalidRequest, NotFound


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

        async def work(report: Callable[[float], None]) -> ModelEntry:
            return await self._library.import_file(path, name=body.name, progress=report)

        return await answer_with_progress(http, work, name="import a model")


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
