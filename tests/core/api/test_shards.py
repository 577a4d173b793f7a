"""The endpoints of the store, on a real library with a real model in it."""

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.core.api.admin.shards import AdminShards
from app.core.models.library import Library
from tests.support.api_server import API_KEY, Node, serving
from tests.support.gguf_library import library_at
from tests.support.gguf_models import plain_llama

MODEL = "plain-llama-f16"


@dataclass
class Api:
    """Calls the node and returns status and JSON."""

    session: aiohttp.ClientSession
    node: Node
    library: Library
    home: Path

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, "/api/admin/" + path, **options) as response:
            return response.status, await response.json()

    async def lines(self, path: str, **options: Any) -> list[dict[str, Any]]:
        async with self.session.post("/api/admin/" + path, **options) as response:
            assert response.content_type == "application/x-ndjson"
            return [json.loads(line) async for line in response.content]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    home = tmp_path / "home"
    home.mkdir()
    async with library_at(tmp_path / "models") as library:
        await library.import_file(plain_llama(tmp_path / "plain.gguf", layers=8, width=64))
        node = Node(library=library)  # type: ignore[arg-type]
        shards = AdminShards(
            library=library,
            engine=node.engine,
            downloads=lambda: (),
            home=home,
            environ={},
        )
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with serving(node, shards=shards), aiohttp.ClientSession(node.url, headers=headers) as session:
            yield Api(session, node, library, home)


async def test_metadata_is_read_without_the_vocabulary(api: Api) -> None:
    status, found = await api("GET", f"models/{MODEL}/metadata")
    assert (status, found["model_id"], found["general"]["architecture"]) == (200, MODEL, "llama")
    assert found["general"]["architecture_supported"] is True
    assert (found["model"]["block_count"], found["model"]["embedding_length"]) == (8, 64)
    raw = {row["key"]: row["value"] for row in found["raw"]}
    assert raw["general.architecture"] == "llama"
    assert not any(key.startswith(("split.", "swarm.")) for key in raw)
    assert "tokenizer.ggml.tokens" not in raw
    assert (await api("GET", "models/none/metadata"))[0] == 404


async def test_without_its_metadata_shard_a_model_has_no_metadata(api: Api) -> None:
    await api.library.remove_shard(MODEL, 0)
    status, answer = await api("GET", f"models/{MODEL}/metadata")
    assert (status, answer["error"]["code"]) == (404, "not_found")


async def test_verifying_sets_aside_what_is_wrong_and_says_so(api: Api) -> None:
    *steps, last = await api.lines(f"models/{MODEL}/verify")
    assert steps[-1] == {"fraction": 1.0}
    assert last["model"]["complete"] is True
    path = api.library.shard_path(MODEL, 3)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xa5")
    *_, last = await api.lines(f"models/{MODEL}/verify")
    shard = last["model"]["shards"][3]
    assert (shard["state"], last["model"]["complete"]) == ("quarantined", False)
    assert "hashes differ" in shard["problem"]
    _, status = await api("GET", f"models/{MODEL}/status")
    assert (status["complete"], status["loaded"], status["download"]) == (False, False, None)
    assert status["problems"] == [{"shard_index": 3, "reason": shard["problem"]}]
    assert status["shards"]["quarantined"] == 1
    assert (await api("POST", "models/none/verify"))[0] == 404


async def test_a_locked_shard_stays(api: Api) -> None:
    status, answer = await api("PUT", f"models/{MODEL}/shards/2/lock", json={})
    assert (status, answer["status"], answer["shard_index"]) == (200, "locked", 2)
    await api.node.engine.load(MODEL, await api.library.window(MODEL))
    status, answer = await api("DELETE", f"models/{MODEL}/shards/2")
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert api.node.engine.models, "what is refused changes nothing"
    assert (await api("GET", "shard-storage"))[1]["models"][0]["locked"] == [2]
    assert (await api("PUT", f"models/{MODEL}/shards/2/lock", json={"locked": False}))[1][
        "status"
    ] == "unlocked"
    status, answer = await api("DELETE", f"models/{MODEL}/shards/2")
    assert (status, answer["status"], answer["model"]["complete"]) == (200, "removed", False)
    assert not api.node.engine.models
    assert answer["model"]["shards"][2]["state"] == "missing"


async def test_a_shard_is_named_exactly(api: Api) -> None:
    assert (await api("DELETE", f"models/{MODEL[:5]}/shards/2"))[0] == 404
    assert (await api("DELETE", f"models/{MODEL}/shards/9999"))[0] == 404
    assert (await api("PUT", f"models/{MODEL}/shards/9999/lock", json={}))[0] == 404
    assert (await api("PUT", f"models/{MODEL}/shards/1/lock", json={"locked": "yes"}))[0] == 400
    assert api.library.find(MODEL).complete


async def test_storage_adds_up(api: Api) -> None:
    status, storage = await api("GET", "shard-storage")
    (model,) = storage["models"]
    assert (status, storage["budget_bytes"], storage["memory_bytes"]) == (200, 0, 0)
    assert storage["used_bytes"] == model["held_bytes"] == model["size_bytes"]
    assert model["shards"]["present"] == model["shards"]["total"]
    await api.node.engine.load(MODEL, await api.library.window(MODEL))
    _, storage = await api("GET", "shard-storage")
    assert storage["memory_bytes"] == storage["models"][0]["memory_bytes"] == 1 << 20


async def test_a_rescan_names_what_changed(api: Api, tmp_path: Path) -> None:
    assert (await api("POST", "rescan-shards"))[1] == {
        "status": "ok",
        "models_updated": [],
        "count": 0,
        "problems": [],
    }
    api.library.shard_path(MODEL, 4).unlink()
    shutil.copytree(tmp_path / "models" / MODEL, tmp_path / "models" / "copied")
    (tmp_path / "models" / "empty").mkdir()
    _, found = await api("POST", "rescan-shards")
    assert found["models_updated"] == ["copied", MODEL]
    assert found["problems"] == [{"folder": "empty", "reason": "It has no manifest."}]
    assert not api.library.find(MODEL).complete


async def test_models_of_other_programs_are_listed_and_taken_in(api: Api) -> None:
    assert (await api("GET", "models/importable"))[1] == {"models": []}
    folder = api.home / ".lmstudio" / "models" / "maker" / "Other-GGUF"
    folder.mkdir(parents=True)
    path = plain_llama(folder / "other.gguf", layers=2, seed=1, name="Other")
    status, answer = await api("GET", "models/importable")
    (found,) = answer["models"]
    assert (status, found["program"], found["path"]) == (200, "lmstudio", str(path))
    assert (found["repo"], found["size_bytes"]) == ("maker/Other-GGUF", path.stat().st_size)
    *_, last = await api.lines("models/importable", json={"path": str(path)})
    assert (last["model"]["id"], last["model"]["source"]) == ("other-f16", "maker/Other-GGUF")
    status, answer = await api("POST", "models/importable", json={"path": "/etc/passwd"})
    assert (status, answer["error"]["code"]) == (404, "not_found")
