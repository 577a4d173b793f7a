"""Whatever the hub does, a download ends as the very model that importing the file gives, or in an error."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.core.models.library import Library
from app.core.models.manifest import Manifest
from app.core.models.store import SHARDS
from tests.support.gguf_library import library_at
from tests.support.hub_node import FILE, REPO, ended, hub_at
from tests.support.hub_server import Fault, HubServer

MIDDLE = 100_000


def stored(library: Library, root: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The only model of the library: its manifest and every byte of its shards."""
    (entry,) = library.models()
    assert entry.complete
    shards = root / entry.id / SHARDS
    return library.manifest(entry.id), {path.name: path.read_bytes() for path in shards.iterdir()}


async def imported(file: Path, root: Path, commit: str) -> tuple[Manifest, dict[str, bytes]]:
    """What importing the file gives."""
    async with library_at(root) as library:
        await library.import_file(file, repo=REPO, revision=commit)
        return stored(library, root)


async def test_a_download_is_what_importing_the_file_would_be(
    server: HubServer, model_file: Path, tmp_path: Path
) -> None:
    async with hub_at(tmp_path / "models", server.url) as (hub, library):
        download = await ended(hub, await hub.download(REPO, FILE))
        assert (download.state, download.problem) == ("done", "")
        assert download.model_id == library.models()[0].id
        found = stored(library, tmp_path / "models")
        assert (await library.verify(download.model_id)).complete
    assert found == await imported(model_file, tmp_path / "imported", server.repos[REPO].commit)


FAULTS = {
    "truncated": Fault(truncate=MIDDLE),
    "truncated at once": Fault(truncate=0),
    "silent": Fault(stall=MIDDLE),
    "another range": Fault(shift=64),
    "the whole file": Fault(whole=True),
    "too busy": Fault(status=429, headers={"Retry-After": "0"}),
    "broken": Fault(status=500),
    "range refused": Fault(status=416, headers={"Content-Range": "bytes */5"}),
    "expired": Fault(status=403),
}


QUICK = {"truncated", "silent", "too busy"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_failures_while_data_arrives_cost_nothing(
    server: HubServer, tmp_path: Path, fault: str
) -> None:
    async with hub_at(tmp_path, server.url, silence=0.2) as (hub, library):
        server.faults.append(FAULTS[fault])
        await hub.probe(REPO, FILE)
        download = await hub.download(REPO, FILE)
        server.faults += [FAULTS[fault]] * 2
        done = await ended(hub, download)
        assert (done.state, done.problem) == ("done", "")
        assert not server.faults
        assert (await library.verify(done.model_id)).complete


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS],
)
async def test_a_hub_that_keeps_failing_is_an_error_that_can_be_gone_on_from(
    server: HubServer, tmp_path: Path, name: str
) -> None:
    fault = FAULTS[name]
    if fault.truncate or fault.stall:
        fault = replace(fault, truncate=fault.truncate and 0, stall=fault.stall and 0)
    async with hub_at(tmp_path, server.url, silence=0.05, connections=1) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.faults += [replace(fault)] * 3
        download = await ended(hub, download)
        assert download.state == "failed"
        assert download.problem.endswith("3 attempts failed.")
        assert library.models() == ()
        done = await ended(hub, await hub.downloads.resume(download.id))
        assert (done.state, done.problem) == ("done", "")


async def test_wrong_bytes_are_fetched_again_once(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.faults.append(Fault(flip=MIDDLE))
        done = await ended(hub, download)
        assert done.state == "done"
        assert (await library.verify(done.model_id)).complete


async def test_a_hub_of_wrong_bytes_is_an_error_and_nothing_stays(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.faults += [Fault(flip=MIDDLE)] * 100
        failed = await ended(hub, download)
        assert failed.state == "failed"
        assert "another hash than the hub states" in failed.problem
        assert library.models() == ()
        server.faults.clear()
        assert (await ended(hub, await hub.downloads.resume(failed.id))).state == "done"


async def test_a_header_that_arrived_wrong_is_found_by_the_hash(
    server: HubServer, model_file: Path, content: bytes, tmp_path: Path
) -> None:
    server.faults.append(Fault(flip=content.index(b"apache-2.0") + 3))
    async with hub_at(tmp_path / "models", server.url) as (hub, library):
        download = await hub.download(REPO, FILE)
        assert (await ended(hub, download)).state == "done"
        found = stored(library, tmp_path / "models")
    assert found == await imported(model_file, tmp_path / "imported", server.repos[REPO].commit)
