"""Commands that find and download models, on a node in a thread and a server with Hugging Face's routes."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cli.main import run
from app.core.api.admin.hub import AdminHub
from app.core.models.hub.token import HubToken
from tests.support.api_server import serving
from tests.support.cli_node import FixedHost
from tests.support.gguf_models import plain_llama
from tests.support.hub_node import FILE, REPO, Keychain, hub_at
from tests.support.hub_server import TOKEN, HubServer, Repo


class Served:
    url = ""
    keychain: Keychain
    server: HubServer


@contextmanager
def served_hub(folder: Path, content: bytes) -> Iterator[Served]:
    """A node with a hub, on a loop in a thread of its own."""
    ready, loop, node = threading.Event(), asyncio.new_event_loop(), Served()
    leave = asyncio.Event()

    async def serve() -> None:
        node.keychain = Keychain()
        token = HubToken(secrets=node.keychain, environ={})
        async with (
            HubServer({REPO: Repo(files={FILE: content, "tiny.Q8_0.gguf": b"x" * 100})}) as node.server,
            hub_at(folder / "models", node.server.url, token_source=token.get) as (hub, _),
            serving(hub=AdminHub(hub=hub, token=token)) as running,
        ):
            node.url = running.url
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="served hub")
    thread.start()
    try:
        assert ready.wait(20)
        yield node
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(20)
        loop.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Served]:
    with served_hub(tmp_path, plain_llama(tmp_path / FILE, layers=8, width=64).read_bytes()) as served:
        yield served


@pytest.fixture
def host(node: Served, tmp_path: Path) -> FixedHost:
    return FixedHost(data=tmp_path, url=node.url)


def test_models_are_found_probed_and_downloaded(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "search", "tiny"], host=host) == 0
    found = capsys.readouterr().out
    assert found.startswith(f"{REPO}  (100 downloads, apache-2.0)\n")
    assert "Q8_0         tiny.Q8_0.gguf  recommended" in found
    assert run(["models", "probe", REPO, FILE], host=host) == 0
    probed = capsys.readouterr().out
    assert "Model     Plain Llama F16 (llama, F16)" in probed
    assert "which fits into" in probed
    assert run(["models", "download", REPO, FILE], host=host) == 0
    assert capsys.readouterr().out.startswith("Downloaded plain-llama-f16 (")
    assert run(["models", "downloads"], host=host) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "MODEL", "STATE", "DONE", "SIZE", "SPEED", "LEFT"]
    assert row.split()[1:6] == ["Plain", "Llama", "F16", "done", "100%"]
    assert run(["models", "cancel", row.split()[0]], host=host) == 0
    assert capsys.readouterr().out == "The download of Plain Llama F16 is done.\n"


def test_a_part_is_downloaded_and_told_as_json(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "download", REPO, FILE, "--shards", "3-4,6", "--json"], host=host) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["state"], done["repo_id"]) == ("done", REPO)
    assert run(["models", "download", REPO, FILE, "--shards", "3-4,6", "--no-wait", "--json"], host=host) == 0
    assert json.loads(capsys.readouterr().out)["filename"] == FILE
    assert run(["models", "search", "--json"], host=host) == 0
    assert json.loads(capsys.readouterr().out)[0]["repo_id"] == REPO


def test_the_token_comes_from_stdin(
    host: FixedHost, node: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node.server.repos[REPO].gated = True
    assert run(["models", "probe", REPO, FILE], host=host) == 1
    assert "restricted" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN + "\n"))
    assert run(["models", "token"], host=host) == 0
    assert node.keychain.kept == {"hf_token": TOKEN}
    assert run(["models", "probe", REPO, FILE], host=host) == 0
    assert run(["models", "token", "--forget"], host=host) == 0
    assert node.keychain.kept == {}
    assert TOKEN not in capsys.readouterr().out


def test_failures_are_one_line(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["download", "owner/none"],
        ["download", REPO],
        ["probe", "no repository"],
        ["pause", "none"],
    ):
        assert run(["models", *command], host=host) == 1
        *_, last = capsys.readouterr().err.splitlines()
        assert last.startswith("swarmllm: ")
    assert run(["models", "download", REPO, "--shards", "5-x"], host=host) == 2
