"""A hub may answer anything: what it says is bounded, checked and never obeyed beyond its own files."""

import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from app.core.kernel.errors import NetworkError, NotFound, SwarmError
from app.core.models.hub import client
from app.core.models.hub.naming import check_filename
from tests.support.hub_node import FILE, REPO, ended, hub_at
from tests.support.hub_server import Fault, HubServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOOD: dict[str, Any] = {"id": REPO, "sha": COMMIT, "siblings": []}


def sibling(**fields: Any) -> dict[str, Any]:
    lfs = {"sha256": "0" * 64, "size": 100}
    return {"rfilename": "model.gguf", "size": 100, "blobId": "0" * 40, "lfs": lfs, **fields}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'{"id": 5}',
        b'{"id": "x", "sha": NaN}',
        json.dumps(GOOD | {"sha": "main"}).encode(),
        json.dumps(GOOD | {"sha": "../../x"}).encode(),
        json.dumps(GOOD | {"siblings": {"rfilename": "x.gguf"}}).encode(),
        json.dumps(GOOD | {"downloads": 1e400}).encode(),
        json.dumps(GOOD | {"siblings": [sibling(size="100")]}).encode(),
    ],
)
async def test_answers_that_are_none(server: HubServer, tmp_path: Path, answer: bytes) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        server.api_faults.append(Fault(status=200, body=answer))
        with pytest.raises(NetworkError):
            await hub.look_at(REPO)


async def test_files_with_impossible_names_sizes_or_hashes_do_not_exist(
    server: HubServer, tmp_path: Path
) -> None:
    wrong = [
        sibling(rfilename="../../etc/passwd.gguf"),
        sibling(rfilename="C:\\x.gguf"),
        sibling(rfilename="x\0.gguf"),
        sibling(rfilename="a" * 600 + ".gguf"),
        sibling(lfs={"sha256": "0" * 64, "size": -1}),
        sibling(lfs={"sha256": "0" * 64, "size": 1 << 60}),
        sibling(lfs={"sha256": "../" * 21 + "x", "size": 100}, blobId=""),
        sibling(lfs=None, blobId="", size=100),
    ]
    async with hub_at(tmp_path, server.url) as (hub, _):
        server.api_faults.append(Fault(status=200, body=json.dumps(GOOD | {"siblings": wrong}).encode()))
        assert (await hub.look_at(REPO)).variants == ()
        server.api_faults.append(
            Fault(status=200, body=json.dumps(GOOD | {"siblings": [*wrong, sibling()]}).encode())
        )
        assert [variant.filename for variant in (await hub.look_at(REPO)).variants] == ["model.gguf"]


async def test_repositories_with_impossible_names_are_not_asked_for(
    server: HubServer, tmp_path: Path
) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        listed = [{"id": name} for name in ("../x", "http://x/y", "x", REPO, "a/b?c", "a/" + "b" * 200)]
        server.api_faults.append(Fault(status=200, body=json.dumps(listed).encode()))
        assert [found.repo.id for found in await hub.search("x")] == [REPO]
        assert len(server.seen) == 2


async def test_an_endless_answer_is_cut_off(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_JSON", 10_000)
    async with hub_at(tmp_path, server.url) as (hub, _):
        server.api_faults.append(Fault(status=200, body=b" " * 20_000))
        with pytest.raises(NetworkError, match="larger than"):
            await hub.search("tiny")


async def test_a_file_that_is_not_the_one_listed_is_refused(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        for headers in ({"X-Linked-Size": "5"}, {"X-Linked-ETag": '"' + "f" * 64 + '"'}):
            location = {"Location": f"{server.cdn_url}/{REPO}/{FILE}?signature=first"}
            server.api_faults.append(Fault(status=302, headers={**location, **headers}, path="*/resolve/*"))
            with pytest.raises(NetworkError, match="not the one that the hub listed"):
                await hub.download(REPO, FILE)
        assert library.models() == ()


async def test_redirects_end(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        loop = Fault(status=302, headers={"Location": f"/{REPO}/resolve/main/{FILE}"}, path="*/resolve/*")
        server.api_faults += [loop] * 10
        with pytest.raises(NetworkError, match="without end"):
            await hub.probe(REPO, FILE)
        server.api_faults.clear()
        server.api_faults.append(
            Fault(status=307, headers={"Location": f"/{REPO}/resolve/{COMMIT}/{FILE}"}, path="*/resolve/*")
        )
        assert await hub.probe(REPO, FILE)


@pytest.mark.parametrize("url", ["http://192.168.1.5/x", "http://hub.example/x", "http://[fe80::1]/x"])
def test_tokens_do_not_travel_in_the_open(url: str) -> None:
    assert not client._private(URL(url))


@pytest.mark.parametrize("url", ["https://hub.example/x", "http://127.0.0.1:5/x", "http://localhost/x"])
def test_tokens_travel_where_nobody_listens(url: str) -> None:
    assert client._private(URL(url))


async def test_an_address_that_expires_midway_is_asked_for_anew(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url, connections=1) as (hub, _):
        download = await hub.download(REPO, FILE)
        server.signature = "second"
        assert (await ended(hub, download)).state == "done"


async def test_a_repository_that_vanishes_is_an_error(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        download = await hub.download(REPO, FILE)
        server.signature = "second"
        del server.repos[REPO]
        failed = await ended(hub, download)
        assert failed.state == "failed"
        assert "does not have the file" in failed.problem
        assert library.models() == ()
        with pytest.raises(NotFound):
            await hub.look_at(REPO)


@pytest.mark.parametrize("name", ["a.gguf", "Q4 K M/a b.gguf", "sub/dir/ü.GGUF", "a+b@c=d.gguf"])
def test_usual_names_pass(name: str) -> None:
    assert check_filename(name) == name
    assert issubclass(NotFound, SwarmError)
