"""The queue keeps its promises: order, pausing, restarts, parts of models, room on the disk."""

import asyncio
from pathlib import Path

import pytest

from app.core.kernel.errors import AccessDenied, DiskFull, InvalidRequest, NotFound
from app.core.kernel.events import EventBus
from app.core.models.hub.downloads import FOLDER
from app.core.models.hub.failures import Patience
from tests.support.gguf_library import reraise
from tests.support.hub_node import FILE, REPO, ended, hub_at, noted, until_bytes
from tests.support.hub_server import TOKEN, Fault, HubServer, Repo


async def test_a_paused_download_goes_on_where_it_was(
    server: HubServer, content: bytes, tmp_path: Path
) -> None:
    async with hub_at(tmp_path, server.url, connections=1) as (hub, _):
        download = await hub.download(REPO, FILE)
        server.allow(1_000_000)
        await until_bytes(hub, download, 600_000)
        paused = await hub.downloads.pause(download.id)
        assert paused.state == "paused"
        assert paused.done_bytes >= 600_000
        server.allow(None)
        resumed = await hub.download(REPO, FILE)
        assert resumed.id == download.id
        before = server.body_bytes
        done = await ended(hub, resumed)
        assert done.state == "done"
        assert server.body_bytes - before <= len(content) - paused.done_bytes + 100_000


async def test_downloads_outlive_the_node(server: HubServer, content: bytes, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, connections=1) as (hub, _):
        download = await hub.download(REPO, FILE)
        server.allow(1_000_000)
        await until_bytes(hub, download, 600_000)
    server.allow(None)
    before = server.body_bytes
    async with hub_at(tmp_path, server.url) as (hub, library):
        (found,) = hub.downloads.all()
        assert (found.id, found.state) == (download.id, "queued")
        done = await ended(hub, found)
        assert done.state == "done"
        assert server.body_bytes - before < len(content) - 500_000
        assert (await library.verify(done.model_id)).complete
    async with hub_at(tmp_path, server.url) as (hub, _):
        assert [download.state for download in hub.downloads.all()] == ["done"]


async def test_a_cancelled_download_leaves_nothing(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, connections=1) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.allow(1_000_000)
        await until_bytes(hub, download, 300_000)
        assert (await hub.downloads.cancel(download.id)).state == "cancelled"
        assert hub.downloads.all() == ()
        assert list((tmp_path / FOLDER).iterdir()) == []
        assert library.models() == ()
        with pytest.raises(NotFound):
            hub.downloads.find(download.id)


async def test_the_same_download_is_not_made_twice(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        first = await hub.download(REPO, FILE)
        server.faults += [Fault(stall=0)] * 4
        while server.busy < 4:  # noqa: ASYNC110 - the server is the test's own
            await asyncio.sleep(0.01)
        assert (await hub.download(REPO, FILE)).id == first.id
        server.release()
        await ended(hub, first)
        before = server.body_bytes
        again = await ended(hub, await hub.download(REPO, FILE))
        assert again.model_id == library.models()[0].id
        assert server.body_bytes - before <= 1 << 20
        assert len(library.models()) == 1


async def test_only_so_many_downloads_run_at_once(server: HubServer, content: bytes, tmp_path: Path) -> None:
    for number in range(3):
        server.repos[f"owner/other-{number}"] = Repo(files={FILE: content}, commit=f"{number}" * 40)
    async with hub_at(tmp_path, server.url, at_once=2, connections=3) as (hub, library):
        server.pace = 20_000_000
        downloads = [await hub.download(f"owner/other-{number}", FILE) for number in range(3)]
        states = [hub.downloads.find(download.id).state for download in downloads]
        assert states.count("running") <= 2
        assert [(await ended(hub, download)).state for download in downloads] == ["done"] * 3
        assert server.most_busy <= 6
        assert len(library.models()) == 1


async def test_parts_of_a_model_arrive_one_after_the_other(
    server: HubServer, content: bytes, tmp_path: Path
) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        first = await ended(hub, await hub.download(REPO, FILE, shards=[3, 4]))
        entry = library.find(first.model_id)
        here = [shard.index for shard in entry.shards if shard.state == "present"]
        assert (here, entry.complete) == ([0, 3, 4], False)
        before = server.body_bytes
        second = await ended(hub, await hub.download(REPO, FILE))
        assert second.state == "done"
        assert server.body_bytes - before < 2 * len(content) - first.total_bytes
        assert library.find(first.model_id).complete
        assert len(library.models()) == 1
        assert (await library.verify(first.model_id)).complete
        with pytest.raises(InvalidRequest):
            await hub.download(REPO, FILE, shards=[99])


async def test_nodes_that_take_their_fair_share_have_it_all_together(
    server: HubServer, tmp_path: Path
) -> None:
    async with hub_at(tmp_path, server.url, nodes=4) as (hub, library):
        done = await ended(hub, await hub.download(REPO, FILE, fair=True))
        shards = library.find(done.model_id).shards
        layers = [shard for shard in shards if shard.kind == "layers"]
        assert sum(shard.state == "present" for shard in layers) == -(-len(layers) // 4)


async def test_gated_repositories_want_the_token_and_nobody_else_gets_it(
    server: HubServer, tmp_path: Path
) -> None:
    server.repos[REPO].gated = True
    async with hub_at(tmp_path, server.url) as (hub, _):
        with pytest.raises(AccessDenied, match="restricted"):
            await hub.download(REPO, FILE)
    async with hub_at(tmp_path, server.url, token=TOKEN) as (hub, _):
        assert (await ended(hub, await hub.download(REPO, FILE))).state == "done"
    assert any("Authorization" in seen.headers for seen in server.seen if seen.server == "hub")
    assert not any("Authorization" in seen.headers for seen in server.seen if seen.server == "cdn")


async def test_a_wrong_token_is_named_and_not_shown(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, token="hf_wrongwrongwrong") as (hub, _):
        with pytest.raises(AccessDenied) as caught:
            await hub.download(REPO, FILE)
        assert "wrongwrong" not in str(caught.value)


async def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub_at(tmp_path, server.url, max_disk_mb=1) as (hub, _):
        with pytest.raises(DiskFull, match="max_disk_mb"):
            await hub.download(REPO, FILE)
    async with hub_at(tmp_path, server.url) as (hub, _):
        monkeypatch.setattr("app.core.models.store.free_bytes", lambda _: 1_000_000)
        with pytest.raises(DiskFull, match="are free on the disk"):
            await hub.download(REPO, FILE)
        assert list((tmp_path / FOLDER).iterdir()) == []


async def test_a_shard_that_vanished_is_fetched_again(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, connections=1) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.allow(1_000_000)
        await until_bytes(hub, download, 700_000)
        await hub.downloads.pause(download.id)
        server.allow(None)
        shards = sorted((tmp_path / FOLDER / download.id / "model" / "shards").glob("*-layers.gguf"))
        shards[0].unlink()
        with shards[1].open("r+b") as file:
            file.seek(-1000, 2)
            file.write(bytes(500))
        done = await ended(hub, await hub.downloads.resume(download.id))
        assert done.state == "done"
        assert (await library.verify(done.model_id)).complete


async def test_waiting_as_long_as_the_server_asks(server: HubServer, tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    patience = Patience(base=0.01, sleep=sleep)
    async with hub_at(tmp_path, server.url, patience=patience, connections=1) as (hub, _):
        download = await hub.download(REPO, FILE)
        server.faults.append(Fault(status=429, headers={"Retry-After": "7"}))
        assert (await ended(hub, download)).state == "done"
        assert waits == [7]
        server.api_faults.append(Fault(status=429, headers={"Retry-After": "3"}))
        assert await hub.search("tiny")
        assert waits == [7, 3]


async def test_listeners_are_told_how_it_goes(server: HubServer, tmp_path: Path) -> None:
    bus = EventBus(reraise)
    events = noted(bus)
    async with hub_at(tmp_path, server.url, bus=bus) as (hub, _):
        done = await ended(hub, await hub.download(REPO, FILE))
        states = [event.state for event in events]
        assert (states[0], states[-1]) == ("queued", "done")
        assert "running" in states
        assert events[-1].done_bytes == events[-1].total_bytes == done.total_bytes
        assert events[-1].model_id == done.model_id
