"""Importing a model: progress, errors before and after it, and a client that hangs up."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.core.kernel.errors import BadModelFile, DiskFull
from tests.support.api_router import Entry, ListedLibrary
from tests.support.api_server import SESSION_TOKEN, Node, serving

URL = "/api/admin/models/import"


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def http(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {SESSION_TOKEN}"}
    async with aiohttp.ClientSession(node.url, headers=headers) as session:
        yield session


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")
    return path


class StoppingLibrary(ListedLibrary):
    """Stops in mid-import, then raises `failure` or goes on for ever."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.cancelled = asyncio.Event()
        self.seen = asyncio.Event()

    async def import_file(
        self, path: Path, *, name: str | None = None, progress: Callable[[float], None]
    ) -> Entry:
        progress(0.25)
        try:
            await self.seen.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        assert self.failure is not None
        raise self.failure


async def test_progress_comes_a_line_at_a_time(http: aiohttp.ClientSession, file: Path) -> None:
    async with http.post(URL, json={"path": str(file), "name": "Tiny"}) as response:
        assert response.content_type == "application/x-ndjson"
        lines: list[dict[str, Any]] = [json.loads(line) async for line in response.content]
    assert [line["fraction"] for line in lines[:-1]] == [0.5, 1.0]
    assert (lines[-1]["model"]["id"], lines[-1]["model"]["name"]) == ("tiny", "Tiny")


async def test_what_fails_in_the_middle_is_the_last_line(file: Path) -> None:
    node = Node(library=StoppingLibrary(DiskFull("The disk is full.")))
    async with serving(node), aiohttp.ClientSession(node.url) as http:
        headers = {"Authorization": f"Bearer {SESSION_TOKEN}"}
        async with http.post(URL, json={"path": str(file)}, headers=headers) as response:
            assert response.status == 200
            assert json.loads(await response.content.readline()) == {"fraction": 0.25}
            node.library.seen.set()  # type: ignore[attr-defined]
            last = json.loads(await response.content.readline())
    assert last["error"]["code"] == "disk_full"


async def test_what_fails_at_once_is_an_http_error(
    node: Node, http: aiohttp.ClientSession, file: Path
) -> None:
    node.library.failure = BadModelFile("The file is damaged.")
    async with http.post(URL, json={"path": str(file)}) as response:
        assert response.status == 422
        assert (await response.json())["error"]["message"] == "The file is damaged."


async def test_hanging_up_cancels_the_import(file: Path) -> None:
    library = StoppingLibrary()
    async with serving(Node(library=library)) as node, aiohttp.ClientSession(node.url) as http:
        headers = {"Authorization": f"Bearer {SESSION_TOKEN}"}
        async with http.post(URL, json={"path": str(file)}, headers=headers) as response:
            await response.content.readline()
            response.close()
        await asyncio.wait_for(library.cancelled.wait(), 10)


class BrokenLibrary(ListedLibrary):
    """Has a bug that shows only after the answer has begun."""

    async def import_file(
        self, path: Path, *, name: str | None = None, progress: Callable[[float], None]
    ) -> Entry:
        progress(0.5)
        await asyncio.sleep(0.01)
        return None  # type: ignore[return-value]


@pytest.mark.logs_errors
async def test_a_bug_in_the_middle_cuts_the_answer_off(file: Path) -> None:
    async with serving(Node(library=BrokenLibrary())) as node, aiohttp.ClientSession(node.url) as http:
        headers = {"Authorization": f"Bearer {SESSION_TOKEN}"}
        async with http.post(URL, json={"path": str(file)}, headers=headers) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        async with http.get("/health") as response:
            assert response.status == 200
