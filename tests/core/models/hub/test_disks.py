"""Disks that fill up or may not be written to: a clear error each, and nothing else lost."""

from pathlib import Path

import pytest

from app.core.kernel.errors import StorageError
from app.core.models.hub.downloads import FOLDER
from tests.support.gguf_library import mounted, needs_mount, remount
from tests.support.hub_node import FILE, REPO, ended, hub_at, until_bytes
from tests.support.hub_server import HubServer


def fill(path: Path) -> None:
    """Takes all the room that is left. Raises OSError then."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@needs_mount
async def test_a_disk_that_fills_up_stops_the_download_until_there_is_room(
    server: HubServer, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", size="8m") as disk:
        async with hub_at(disk, server.url, connections=1) as (hub, library):
            download = await hub.download(REPO, FILE)
            server.allow(1_000_000)
            await until_bytes(hub, download, 300_000)
            ballast = disk / "ballast"
            with pytest.raises(OSError, match="No space"):
                fill(ballast)
            server.allow(None)
            failed = await ended(hub, download)
            assert failed.state == "failed"
            assert "disk is full" in failed.problem
            again = await ended(hub, await hub.downloads.resume(download.id))
            assert again.state == "failed"
            assert library.models() == ()
            ballast.unlink()
            done = await ended(hub, await hub.downloads.resume(download.id))
            assert (done.state, done.problem) == ("done", "")
            assert (await library.verify(done.model_id)).complete


@needs_mount
async def test_a_disk_that_may_not_be_written_to(server: HubServer, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", size="8m") as disk:
        async with hub_at(disk, server.url) as (hub, _):
            remount(disk, "ro")
            with pytest.raises(StorageError, match="cannot be written to"):
                await hub.download(REPO, FILE)
            remount(disk, "rw")
            assert (await ended(hub, await hub.download(REPO, FILE))).state == "done"


async def test_rubbish_among_the_downloads_is_cleared_away(server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    for name, record in (("empty", None), ("torn", b'{"id": "torn", '), ("other", b'{"id": 5}')):
        (folder / name).mkdir(parents=True)
        if record is not None:
            (folder / name / "download.json").write_bytes(record)
    async with hub_at(tmp_path, server.url) as (hub, _):
        assert hub.downloads.all() == ()
        assert list(folder.iterdir()) == []


async def test_parts_that_were_wrong_before_are_named(server: HubServer, tmp_path: Path) -> None:
    """Nobody can tell that a part is wrong until the model is complete; then it is said."""
    async with hub_at(tmp_path, server.url) as (hub, library):
        part = await ended(hub, await hub.download(REPO, FILE, shards=[4]))
        manifest = library.manifest(part.model_id)
        path = library.shard_path(part.model_id, 4)
        content = bytearray(server.repos[REPO].files[FILE])
        content[manifest.shards[4].ranges[0].start + 5] ^= 0xFF
        whole = server.repos[REPO].files[FILE]
        await library.remove(part.model_id)
        assert not path.exists()
        server.repos[REPO].files = {FILE: bytes(content)}
        wrong = await ended(hub, await hub.download(REPO, FILE, shards=[4]))
        assert wrong.state == "done"
        server.repos[REPO].files = {FILE: whole}
        failed = await ended(hub, await hub.download(REPO, FILE))
        assert failed.state == "failed"
        assert "remove it first" in failed.problem
        assert not library.find(wrong.model_id).complete
        await library.remove(wrong.model_id)
        assert (await ended(hub, await hub.downloads.resume(failed.id))).state == "done"
