"""Searching groups what a hub has into models that can be run, and says which one to take."""

from pathlib import Path

import pytest

from app.core.kernel.errors import AccessDenied, BadModelFile, InvalidRequest, NetworkError, NotFound
from app.core.models.hub.answers import HubFile
from app.core.models.hub.variants import recommend, variants_of
from tests.support.hub_node import FILE, REPO, ended, hub_at
from tests.support.hub_server import Fault, HubServer, Repo
from tests.support.hub_split import split_model

GIB = 1 << 30


def file(path: str, size: int) -> HubFile:
    return HubFile(repo=REPO, commit="0" * 40, path=path, size=size, digest="sha256:" + "0" * 64)


LISTED = [
    file("model.Q8_0.gguf", 8 * GIB),
    file("model.Q4_K_M.gguf", 4 * GIB),
    file("model-UD-IQ2_XXS.gguf", 2 * GIB),
    file("BF16/model-BF16-00001-of-00002.gguf", 10 * GIB),
    file("BF16/model-BF16-00002-of-00002.gguf", 6 * GIB),
    file("Q6_K/model-Q6_K-00001-of-00002.gguf", 6 * GIB),
    file("mmproj-model-f16.gguf", GIB),
    file("model.imatrix.gguf", 1),
]


def test_variants_are_whole_models_the_smallest_first() -> None:
    found = [(v.quantization, v.size_bytes // GIB, len(v.files)) for v in variants_of(LISTED)]
    assert found == [("UD-IQ2_XXS", 2, 1), ("Q4_K_M", 4, 1), ("Q8_0", 8, 1), ("BF16", 16, 2)]


@pytest.mark.parametrize(
    ("memory", "expected"),
    [(64, "Q4_K_M"), (5, "Q4_K_M"), (3, "UD-IQ2_XXS"), (1, "UD-IQ2_XXS")],
)
def test_the_variant_that_fits_best_is_recommended(memory: int, expected: str) -> None:
    best = recommend(variants_of(LISTED), memory * GIB)
    assert best is not None
    assert best.quantization == expected


async def test_search_groups_by_repository(server: HubServer, tmp_path: Path) -> None:
    server.repos["owner/tiny-empty"] = Repo(files={"README.md": b"hi"})
    server.repos["owner/tiny-more"] = Repo(
        files={"a.Q4_K_M.gguf": b"x" * 100, "a.Q8_0.gguf": b"x" * 200}, downloads=500, gated=True
    )
    async with hub_at(tmp_path, server.url) as (hub, _):
        more, tiny = await hub.search("tiny")
        assert (more.repo.id, more.repo.downloads, more.repo.gated) == ("owner/tiny-more", 500, True)
        assert (more.recommended, more.fits_memory) == ("a.Q4_K_M.gguf", True)
        assert [variant.quantization for variant in more.variants] == ["Q4_K_M", "Q8_0"]
        assert (tiny.repo.id, tiny.repo.license) == (REPO, "apache-2.0")
        assert await hub.search("nothing like it") == ()
        assert len(await hub.search("tiny", limit=1)) == 1
        with pytest.raises(InvalidRequest):
            await hub.search("x" * 300)


async def test_a_probe_tells_shards_and_memory_from_the_header_alone(
    server: HubServer, content: bytes, tmp_path: Path
) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        probe = await hub.probe(REPO, FILE)
        assert server.body_bytes <= 1 << 20
        assert probe.commit == server.repos[REPO].commit
        kinds = [shard.kind for shard in probe.manifest.shards]
        assert kinds == ["metadata", "embedding", "globals", *["layers"] * 4, "head"]
        assert probe.memory.total == sum(term.size for term in probe.memory.terms)
        assert probe.fits
        assert "which fits into 8.0 GiB" in probe.verdict
    async with hub_at(tmp_path, server.url, memory=1 << 20) as (hub, _):
        probe = await hub.probe(REPO, FILE)
        assert not probe.fits
        assert "does not fit into 1.0 MiB" in probe.verdict


async def test_a_split_set_is_one_model(server: HubServer, model_file: Path, tmp_path: Path) -> None:
    parts = split_model(model_file, tmp_path / "parts", 3)
    server.repos[REPO].files = {f"F16/{part.name}": part.read_bytes() for part in parts}
    async with hub_at(tmp_path / "models", server.url) as (hub, library):
        (found,) = await hub.search("tiny")
        assert len(found.variants[0].files) == 3
        download = await hub.download(REPO, f"F16/{parts[1].name}")
        done = await ended(hub, download)
        assert (done.state, done.problem) == ("done", "")
        assert (await library.verify(done.model_id)).complete
        assert [held.name for held in library.manifest(done.model_id).source.files] == [p.name for p in parts]


async def test_where_a_model_is_from(server: HubServer, model_file: Path, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, library):
        entry = await library.import_file(model_file)
        server.repos["owner/tiny.f16"] = server.repos.pop(REPO)
        source = await hub.source(entry.id)
        assert (source.repo, source.filename) == ("owner/tiny.f16", FILE)
        del server.repos["owner/tiny.f16"]
        with pytest.raises(NotFound):
            await hub.source(entry.id)


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("owner", FILE),
        ("../owner/x", FILE),
        ("owner/x/y", FILE),
        ("owner/..", FILE),
        ("owner/" + "x" * 96, FILE),
        ("owner/na me", FILE),
        (REPO, "model.bin"),
        (REPO, "../model.gguf"),
        (REPO, "/model.gguf"),
        (REPO, "a//b.gguf"),
        (REPO, "model.gguf?x=.gguf"),
        (REPO, "model%2e.gguf"),
        (REPO, "mo\ndel.gguf"),
        (REPO, "C:\\model.gguf"),
    ],
)
async def test_impossible_names_are_refused_without_asking_the_hub(
    server: HubServer, tmp_path: Path, repo: str, name: str
) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        with pytest.raises(InvalidRequest):
            await hub.probe(repo, name)
        assert server.seen == []


async def test_what_a_hub_does_not_have_is_said(server: HubServer, tmp_path: Path) -> None:
    server.repos["owner/broken"] = Repo(files={"x.gguf": b"GGUF" + b"\xff" * 500, "y.gguf": b"GGUF"})
    async with hub_at(tmp_path, server.url) as (hub, _):
        with pytest.raises(NotFound, match="private"):
            await hub.probe("owner/none", FILE)
        with pytest.raises(NotFound, match="no complete model"):
            await hub.probe(REPO, "none.gguf")
        with pytest.raises(NotFound):
            await hub.probe(REPO, FILE, revision="v2")
        for name in ("x.gguf", "y.gguf"):
            with pytest.raises(BadModelFile):
                await hub.probe("owner/broken", name)


async def test_failures_of_the_hub_itself(server: HubServer, tmp_path: Path) -> None:
    async with hub_at(tmp_path, server.url) as (hub, _):
        server.api_faults += [Fault(status=503)] * 2
        assert await hub.search("tiny")
        server.api_faults += [Fault(status=503)] * 3
        with pytest.raises(NetworkError, match="3 attempts failed"):
            await hub.search("tiny")
        server.api_faults.append(Fault(status=429, headers={"Retry-After": "4200"}))
        with pytest.raises(NetworkError, match="asks to wait 1 h 10 min"):
            await hub.search("tiny")
        server.api_faults.append(Fault(status=200))
        with pytest.raises(NetworkError, match="no hub's"):
            await hub.search("tiny")
        for location in ("ftp://127.0.0.1/", "http://[/", ""):
            server.api_faults.append(Fault(status=302, headers={"Location": location} if location else {}))
            with pytest.raises(NetworkError, match="redirects"):
                await hub.search("tiny")
        server.api_faults.append(Fault(status=403))
        with pytest.raises(AccessDenied):
            await hub.search("tiny")
    async with hub_at(tmp_path, "http://127.0.0.1:9") as (hub, _):
        with pytest.raises(NetworkError, match="cannot be reached"):
            await hub.search("tiny")
