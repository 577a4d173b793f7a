"""Commands on a model's shards, on a node in a thread with a real library."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.cli.main import run
from app.core.api.admin.shards import AdminShards
from tests.support.api_server import Node, serving
from tests.support.cli_node import FixedHost
from tests.support.gguf_library import library_at
from tests.support.gguf_models import plain_llama

MODEL = "plain-llama-f16"
SHARD = Path("models", MODEL, "shards", "003-layers.gguf")


@contextmanager
def served_library(folder: Path) -> Iterator[str]:
    """A node with a library, on a loop in a thread of its own; yields its address."""
    ready, loop, node = threading.Event(), asyncio.new_event_loop(), Node()
    leave = asyncio.Event()

    async def serve() -> None:
        async with library_at(folder / "models") as library:
            await library.import_file(folder / "plain.gguf")
            node.library = library  # type: ignore[assignment]
            shards = AdminShards(
                library=library, engine=node.engine, downloads=lambda: (), home=folder / "home", environ={}
            )
            async with serving(node, shards=shards):
                ready.set()
                await leave.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="served library")
    thread.start()
    try:
        assert ready.wait(20)
        yield node.url
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(20)
        loop.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FixedHost]:
    plain_llama(tmp_path / "plain.gguf", layers=8, width=64)
    with served_library(tmp_path) as url:
        yield FixedHost(data=tmp_path, url=url)


def test_models_are_verified(host: FixedHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "verify"], host=host) == 0
    total = capsys.readouterr().out.split()[3]
    with (tmp_path / SHARD).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xa5\xa5\xa5\xa5")
    assert run(["models", "verify", "plain"], host=host) == 1
    head, problem = capsys.readouterr().out.splitlines()
    assert head == f"{MODEL}: {int(total) - 1} of {total} shards are here and sound."
    assert problem.startswith("  shard 3: Its data is not what the manifest says")
    assert run(["models", "verify", MODEL, "--json"], host=host) == 1
    (model,) = json.loads(capsys.readouterr().out)
    assert model["shards"][3]["state"] == "quarantined"
    assert run(["models", "verify", "none"], host=host) == 1


def test_shards_are_shown_locked_and_removed(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "shards", "plain", "--lock", "2-3"], host=host) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["SHARD", "KIND", "LAYERS", "SIZE", "STATE", "LOCKED"]
    assert [row.split()[0] for row in rows if row.endswith("locked")] == ["2", "3"]
    assert run(["models", "shards", MODEL, "--remove", "3"], host=host) == 1
    assert "Shard 3 of Plain Llama F16 is locked" in capsys.readouterr().err
    assert run(["models", "shards", MODEL, "--unlock", "3"], host=host) == 0
    assert run(["models", "shards", "plain", "--remove", "3"], host=host) == 1
    assert "give its whole id" in capsys.readouterr().err
    assert run(["models", "shards", MODEL, "--remove", "3", "--json"], host=host) == 0
    shards = json.loads(capsys.readouterr().out)
    assert (shards[3]["state"], shards[2]["locked"]) == ("missing", True)


def test_storage_is_told_by_model(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "shards"], host=host) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[0] == MODEL
    assert "of the disk are free" in told.err
    assert run(["models", "shards", "--json"], host=host) == 0
    storage = json.loads(capsys.readouterr().out)
    assert storage["used_bytes"] == storage["models"][0]["held_bytes"] > 0
    assert run(["models", "shards", "--remove", "1"], host=host) == 2


def test_models_of_other_programs_are_listed_and_imported(
    host: FixedHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "import"], host=host) == 0
    assert capsys.readouterr().out.startswith("Neither Ollama nor LM Studio")
    for maker in ("one", "two"):
        folder = tmp_path / "home" / ".lmstudio" / "models" / maker / "Other-GGUF"
        folder.mkdir(parents=True)
        plain_llama(folder / "other.gguf", layers=2, seed=1, name="Other")
    assert run(["models", "import", "--json"], host=host) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["program"], first["repo"], second["name"]) == ("lmstudio", "one/Other-GGUF", "other.gguf")
    assert run(["models", "import", "other.gguf"], host=host) == 1
    assert "give a path" in capsys.readouterr().err
    assert run(["models", "import", first["path"], "--name", "Mine"], host=host) == 0
    assert capsys.readouterr().out.startswith("Imported mine (")
    assert run(["models", "import", "nothing"], host=host) == 1
