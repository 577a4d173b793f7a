"""kill -9 at any moment of a download: the next start goes on, and the result is byte-identical."""

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest

from app.core.models.library import Library
from app.core.models.manifest import Manifest
from app.core.models.store import SHARDS
from tests.support.gguf_library import library_at
from tests.support.gguf_models import ROOT
from tests.support.hub_node import FILE, REPO, ended, hub_at
from tests.support.hub_server import HubServer

SHOTS = random.Random(11)
PACE = 2_000_000


async def killed_download(server: HubServer, root: Path, delay: float) -> bool:
    """Kills a process `delay` seconds after its download began; whether it was still at work."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.hub_node",
        server.url,
        str(root),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(delay)
    if child.returncode is None:
        child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    said = await child.stdout.read()
    await child.wait()
    return b"done" not in said


def content_of(library: Library, root: Path) -> tuple[Manifest, dict[str, bytes]]:
    (entry,) = library.models()
    shards = root / entry.id / SHARDS
    return library.manifest(entry.id), {path.name: path.read_bytes() for path in shards.iterdir()}


async def finished(server: HubServer, root: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Starts once more, sees the download through and returns what is in the library."""
    async with hub_at(root, server.url) as (hub, library):
        assert not library.problems()
        left = [download for download in hub.downloads.all() if download.state != "done"]
        download = left[0] if left else await hub.download(REPO, FILE)
        done = await ended(hub, download)
        assert (done.state, done.problem) == ("done", "")
        assert (await library.verify(done.model_id)).complete
        return content_of(library, root)


async def expected(server: HubServer, file: Path, root: Path) -> tuple[Manifest, dict[str, bytes]]:
    async with library_at(root) as library:
        await library.import_file(file, repo=REPO, revision=server.repos[REPO].commit)
        return content_of(library, root)


@pytest.mark.slow
async def test_twenty_kills_at_random_moments(server: HubServer, model_file: Path, tmp_path: Path) -> None:
    right = await expected(server, model_file, tmp_path / "right")
    struck = 0
    for shot in range(20):
        root = tmp_path / f"models-{shot}"
        server.pace = PACE
        struck += await killed_download(server, root, SHOTS.uniform(0, 1.2))
        server.pace = 0
        assert await finished(server, root) == right
    assert struck >= 5


@pytest.mark.slow
async def test_a_download_killed_again_and_again_gets_done(
    server: HubServer, model_file: Path, tmp_path: Path
) -> None:
    right = await expected(server, model_file, tmp_path / "right")
    root = tmp_path / "models"
    for _ in range(6):
        server.pace = PACE
        await killed_download(server, root, 0.7)
    server.pace = 0
    assert await finished(server, root) == right
