"""Models that other programs hold are found where those programs keep them."""

import json
import shutil
from pathlib import Path

import pytest

from app.core.models.discovery import discover
from tests.support.gguf_library import library_at
from tests.support.gguf_models import plain_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("source") / "plain.gguf", layers=1)


def put(model: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(model, target)
    return target


def ollama(root: Path, model: Path) -> Path:
    """What `ollama pull plain` leaves behind."""
    blob = put(model, root / "blobs" / f"sha256-{'ab' * 32}")
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00", "size": 1},
        {
            "mediaType": "application/vnd.ollama.image.model",
            "digest": f"sha256:{'ab' * 32}",
            "size": blob.stat().st_size,
        },
    ]
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "plain" / "1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def test_ollamas_models_are_found_by_name_and_tag(tmp_path: Path, model: Path) -> None:
    blob = ollama(tmp_path / ".ollama" / "models", model)
    (found,) = discover(tmp_path, {})
    assert (found.program, found.name, found.path) == ("ollama", "plain:1b", blob)
    assert found.size_bytes == model.stat().st_size


def test_ollamas_manifests_may_be_anything(tmp_path: Path, model: Path) -> None:
    root = tmp_path / "elsewhere"
    ollama(root, model)
    folder = root / "manifests" / "registry.ollama.ai" / "library" / "odd"
    folder.mkdir()
    traversal = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../etc/passwd"}
    for name, content in {
        "empty": b"",
        "noise": b"\xff\xfe",
        "list": b"[]",
        "deep": b"[" * 50_000,
        "nothing": json.dumps({"layers": []}).encode(),
        "traversal": json.dumps({"layers": [traversal]}).encode(),
    }.items():
        (folder / name).write_bytes(content)
    assert [found.name for found in discover(tmp_path, {"OLLAMA_MODELS": str(root)})] == ["plain:1b"]


def test_lm_studios_models_are_found_with_their_repository(tmp_path: Path, model: Path) -> None:
    root = tmp_path / ".lmstudio" / "models" / "maker" / "Plain-GGUF"
    path = put(model, root / "plain-Q4_K_M.gguf")
    put(model, root / "mmproj-plain.gguf")
    (found,) = discover(tmp_path, {})
    assert (found.program, found.repo, found.path) == ("lmstudio", "maker/Plain-GGUF", path)


def test_the_hugging_face_cache_is_read_through_its_links(tmp_path: Path, model: Path) -> None:
    hub = tmp_path / "hub" / "models--maker--Plain-GGUF"
    blob = put(model, hub / "blobs" / "abc")
    link = hub / "snapshots" / "0123" / "plain.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    (found,) = discover(tmp_path, {"HF_HOME": str(tmp_path)})
    assert (found.program, found.repo, found.revision) == ("huggingface", "maker/Plain-GGUF", "0123")
    assert found.size_bytes == model.stat().st_size


def test_a_split_set_is_one_model_and_only_when_complete(tmp_path: Path, model: Path) -> None:
    root = tmp_path / ".lmstudio" / "models" / "maker" / "repo"
    for number in (1, 2):
        put(model, root / f"whole-{number:05d}-of-00002.gguf")
    put(model, root / "half-00001-of-00002.gguf")
    (found,) = discover(tmp_path, {})
    assert found.path.name == "whole-00001-of-00002.gguf"
    assert found.size_bytes == 2 * model.stat().st_size


async def test_what_is_found_can_be_imported(tmp_path: Path, model: Path) -> None:
    ollama(tmp_path / ".ollama" / "models", model)
    async with library_at(tmp_path / "models") as library:
        (found,) = await library.discover(tmp_path, {})
        entry = await library.import_file(found.path, repo="maker/plain")
        assert (entry.name, entry.source) == ("Plain Llama F16", "maker/plain")


def test_a_place_that_cannot_be_read_hides_no_other(tmp_path: Path, model: Path) -> None:
    ollama(tmp_path / ".ollama" / "models", model)
    found = discover(tmp_path, {"HF_HUB_CACHE": "/" + "x" * 5_000})
    assert [candidate.program for candidate in found] == ["ollama"]
