"""The library keeps models whole, says what is wrong with the others, and loses nothing."""

import asyncio
import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from app.core.kernel.errors import (
    BadModelFile,
    Conflict,
    DiskFull,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    StorageError,
    Unsupported,
)
from app.core.kernel.events import EventBus, ModelsChanged, Notice
from app.core.models import importing, store
from app.core.models.gguf.reader import read_header
from app.core.models.library import Library
from app.core.models.local import Local
from app.core.models.manifest import decode, encode
from tests.support.gguf_library import library_at, mounted, needs_mount, remount, reraise
from tests.support.gguf_models import plain_llama


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plain_llama(tmp_path / "plain-llama.gguf")


async def test_an_imported_model_is_described_and_survives_a_restart(tmp_path: Path, source: Path) -> None:
    root, seen = tmp_path / "models", list[float]()
    async with library_at(root) as library:
        entry = await library.import_file(source, progress=seen.append)
        await asyncio.sleep(0)
    assert (entry.id, entry.name, entry.quantization) == ("plain-llama-f16", "Plain Llama F16", "F16")
    assert (entry.architecture, entry.n_layers, entry.n_embd) == ("llama", 8, 64)
    assert (entry.license, entry.source, entry.complete) == ("apache-2.0", "plain-llama.gguf", True)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    async with library_at(root) as library:
        assert library.models() == (entry,)
        assert not library.problems()


async def test_changes_are_told_on_the_bus(tmp_path: Path, source: Path) -> None:
    bus, events = EventBus(reraise), list[ModelsChanged]()
    bus.subscribe(ModelsChanged, events.append)
    async with library_at(tmp_path / "models", bus=bus) as library:
        events.clear()
        await library.import_file(source)
        assert len(events) == 1
        await library.remove("plain-llama-f16")
        assert len(events) == 2


async def test_models_are_found_by_id_name_and_unambiguous_beginning(tmp_path: Path, source: Path) -> None:
    other = plain_llama(tmp_path / "other.gguf", seed=1, name="Plain Llama Chat")
    async with library_at(tmp_path / "models") as library:
        first = await library.import_file(source)
        second = await library.import_file(other)
        assert library.find(first.id) == library.find("plain llama f16") == first
        assert library.find("plain-llama-c") == second
        with pytest.raises(ModelNotFound, match="fits several models"):
            library.find("plain")
        for missing in ("", " ", "unknown", "../plain-llama-f16"):
            with pytest.raises(ModelNotFound):
                library.find(missing)


async def test_the_same_content_is_stored_once(tmp_path: Path, source: Path) -> None:
    copy = shutil.copy(source, tmp_path / "copy.gguf")
    async with library_at(tmp_path / "models") as library:
        first = await library.import_file(source)
        assert await library.import_file(copy, name="Another name") == first
        assert len(library.models()) == 1


async def test_another_content_of_the_same_name_gets_another_id(tmp_path: Path, source: Path) -> None:
    other = plain_llama(tmp_path / "other.gguf", seed=1)
    async with library_at(tmp_path / "models") as library:
        ids = [(await library.import_file(path)).id for path in (source, other)]
    assert ids == ["plain-llama-f16", "plain-llama-f16-2"]


async def test_importing_again_fills_in_the_shards_that_were_deleted(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        entry = await library.remove_shard(model, 3)
        assert not entry.complete
        assert entry.shards[3].state == "missing"
        with pytest.raises(Conflict, match="its shards 3 are not here"):
            await library.window(model)
        assert (await library.import_file(source)).complete
        assert (await library.window(model)).whole


async def partial_import(source: Path, root: Path, wanted: set[int], revision: str) -> importing.Imported:
    """What a download of some shards leaves behind: the hashes of the others are not known."""
    plan = importing.plan_import(source, shard_size=1 << 26, repo="maker/plain", revision=revision)
    whole = importing.run_import(
        plan,
        folder=importing.staging_folder(root),
        created=1,
        progress=lambda _: None,
        cancel=threading.Event(),
    )
    for shard in whole.manifest.shards:
        if shard.index not in wanted:
            (whole.folder / "shards" / shard.file).unlink()
    hashes = {shard.index: shard.blake3 for shard in whole.manifest.shards if shard.index in wanted}
    return importing.assemble(plan.manifest, hashes, folder=whole.folder, local=Local(created=1))


async def test_shards_that_come_one_after_the_other_make_one_model(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        first = await library.adopt(await partial_import(source, root, {0, 2, 4}, "r1"))
        assert not first.complete
        assert first.root == ""
        assert [shard.state for shard in first.shards].count("present") == 3
        assert (await library.window(first.id, 1, 2, head=False)).takes == "vectors"
        with pytest.raises(Conflict, match="shards 3 are not here"):
            await library.window(first.id, 0, 2, embedding=False, head=False)
        second = await library.adopt(await partial_import(source, root, {1, 3, 4}, "r1"))
        assert second.id == first.id
        whole = await library.import_file(source)
        assert (whole.id, whole.complete) == (first.id, True)
        assert whole.root
    async with library_at(root) as library:
        assert library.find(first.id) == whole
        assert all(shard.state == "present" for shard in (await library.verify(first.id)).shards)


async def test_models_that_only_look_alike_are_kept_apart(tmp_path: Path, source: Path) -> None:
    root, other = tmp_path / "models", plain_llama(tmp_path / "plain-llama-2.gguf", seed=9)
    async with library_at(root) as library:
        one = await library.adopt(await partial_import(source, root, {0, 3}, "r1"))
        two = await library.adopt(await partial_import(other, root, {0, 4}, "r2"))
        three = await library.import_file(other)
        assert one.id != two.id == three.id


async def test_locked_shards_are_not_deleted(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        model = (await library.import_file(source)).id
        await library.lock_shard(model, 2)
    async with library_at(root) as library:
        assert library.find(model).shards[2].locked
        with pytest.raises(Conflict, match="is locked"):
            await library.remove_shard(model, 2)
        await library.lock_shard(model, 2, locked=False)
        await library.remove_shard(model, 2)
        with pytest.raises(NotFound):
            await library.remove_shard(model, 99)


async def test_a_removed_model_leaves_nothing(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        model = (await library.import_file(source)).id
        await library.window(model, 2, 5)
        await library.remove(model)
        assert not library.models()
    assert [path for path in root.rglob("*") if path.is_file()] == []


async def test_only_a_full_id_names_what_is_to_be_deleted(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        assert library.find("plain").id == model
        with pytest.raises(ModelNotFound):
            await library.remove("plain")
        with pytest.raises(ModelNotFound):
            await library.remove_shard("plain", 1)
        assert library.find(model).complete


async def test_storage_is_accounted_for(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models", max_disk_mb=100) as library:
        entry = await library.import_file(source)
        storage = await library.storage()
    on_disk = sum(path.stat().st_size for path in (tmp_path / "models").rglob("*.gguf"))
    assert storage.models == {entry.id: on_disk}
    assert (storage.used, storage.budget) == (on_disk, 100 << 20)
    assert storage.free > 0


async def test_the_disk_budget_is_kept(tmp_path: Path) -> None:
    big = plain_llama(tmp_path / "big.gguf", width=256)
    async with library_at(tmp_path / "models", max_disk_mb=2) as library:
        with pytest.raises(DiskFull, match="max_disk_mb"):
            await library.import_file(big)
    assert not list((tmp_path / "models").rglob("*.gguf"))


async def test_too_little_free_space_is_said_before_anything_is_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    async with library_at(tmp_path / "models") as library:
        with pytest.raises(DiskFull, match="1000 B are free"):
            await library.import_file(source)
        assert not library.models()


@pytest.mark.parametrize("moment", [0.0, 0.4, 1.0])
async def test_cancelling_an_import_leaves_all_or_nothing(
    tmp_path: Path, source: Path, moment: float
) -> None:
    root, reached = tmp_path / "models", asyncio.Event()

    def watch(fraction: float) -> None:
        if fraction >= moment:
            reached.set()

    async with library_at(root) as library:
        work = asyncio.create_task(library.import_file(source, progress=watch))
        await reached.wait()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        here = library.models()
        assert all(entry.complete for entry in here)
        assert not list((root / store.INCOMING).iterdir())
        folders = [path.name for path in root.iterdir() if not path.name.startswith(".")]
        assert folders == [entry.id for entry in here]
        assert (await library.import_file(source)).complete


@needs_mount
async def test_a_read_only_disk_is_a_clear_error(tmp_path: Path, source: Path) -> None:
    with mounted(tmp_path / "models", size="8m") as root:
        async with library_at(root) as library:
            kept = await library.import_file(source)
            remount(root, "ro")
            with pytest.raises(StorageError, match="cannot be written to"):
                await library.import_file(plain_llama(tmp_path / "other.gguf", seed=1))
            with pytest.raises(StorageError, match="cannot be written to"):
                await library.remove(kept.id)
            assert library.models() == (kept,)
            assert (await library.window(kept.id)).whole


@needs_mount
async def test_a_disk_that_fills_up_during_an_import_is_a_clear_error(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = plain_llama(tmp_path / "big.gguf", width=256, seed=1)
    monkeypatch.setattr(importing, "require_space", lambda *_: None)
    with mounted(tmp_path / "models", size="4m") as root:
        async with library_at(root) as library:
            kept = await library.import_file(source)
            free = shutil.disk_usage(root).free
            with pytest.raises(DiskFull, match="the disk is full"):
                await library.import_file(big)
            assert shutil.disk_usage(root).free == pytest.approx(free, abs=16_384)
            assert (await library.verify(kept.id)).complete


# --- what happens behind the node's back ------------------------------------------------------------


async def imported(root: Path, source: Path) -> Path:
    async with library_at(root) as library:
        return root / (await library.import_file(source)).id


async def test_a_truncated_shard_is_set_aside_with_the_reason(tmp_path: Path, source: Path) -> None:
    folder = await imported(tmp_path / "models", source)
    shard = folder / "shards" / "004-layers.gguf"
    os.truncate(shard, shard.stat().st_size - 1)
    async with library_at(tmp_path / "models") as library:
        entry = library.find(folder.name)
        assert entry.shards[4].state == "quarantined"
        assert "instead of" in entry.shards[4].problem
        assert not entry.complete
        assert not shard.exists()
        with pytest.raises(Conflict):
            await library.window(folder.name)
        assert (await library.import_file(source)).complete


async def test_a_flipped_bit_is_found_by_verifying(tmp_path: Path, source: Path) -> None:
    folder = await imported(tmp_path / "models", source)
    async with library_at(tmp_path / "models") as library:
        assert (await library.verify(folder.name)).complete
        flip_last_bit(folder / "shards" / "005-layers.gguf")
        seen = list[float]()
        entry = await library.verify(folder.name, progress=seen.append)
        await asyncio.sleep(0)
        assert seen[-1] == 1.0
        assert [shard.state for shard in entry.shards].count("quarantined") == 1
        assert "hashes differ" in entry.shards[5].problem


async def test_a_shard_changed_while_the_node_was_off_is_checked_at_start(
    tmp_path: Path, source: Path
) -> None:
    folder = await imported(tmp_path / "models", source)
    flip_last_bit(folder / "shards" / "005-layers.gguf")
    harmless = folder / "shards" / "006-layers.gguf"
    os.utime(harmless, ns=(1, 1))
    async with library_at(tmp_path / "models") as library:
        await proven(library, folder.name)
        states = [shard.state for shard in library.find(folder.name).shards]
        assert states[5:7] == ["quarantined", "present"]


async def proven(library: Library, model: str) -> None:
    """Waits until the library has checked everything that changed behind its back."""
    async with asyncio.timeout(30):
        while any(shard.state == "suspect" for shard in library.find(model).shards):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def flip_last_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        byte = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("length", [1, 100, 5_000])
async def test_a_torn_header_is_repaired_at_start(tmp_path: Path, source: Path, length: int) -> None:
    folder = await imported(tmp_path / "models", source)
    before = {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}
    for name in ("000-metadata.gguf", "003-layers.gguf"):
        with (folder / "shards" / name).open("r+b") as file:
            file.seek(60)
            file.write(b"\xff" * min(length, 4_000 if "metadata" in name else length))
    async with library_at(tmp_path / "models") as library:
        await library.verify(folder.name)
        assert library.find(folder.name).complete
    assert {path.name: path.read_bytes() for path in (folder / "shards").iterdir()} == before


async def test_a_manifest_from_the_future_is_left_alone(tmp_path: Path, source: Path) -> None:
    folder = await imported(tmp_path / "models", source)
    manifest = folder / "manifest.json"
    future = json.dumps({**json.loads(manifest.read_bytes()), "format": 2, "wings": True}).encode()
    manifest.write_bytes(future)
    bus, notices = EventBus(reraise), list[Notice]()
    bus.subscribe(Notice, notices.append)
    async with library_at(tmp_path / "models", bus=bus) as library:
        assert not library.models()
        (problem,) = library.problems()
        assert "A newer version wrote it" in problem.reason
        assert "A newer version wrote it" in notices[0].message
        other = await library.import_file(source)
        assert other.id == f"{folder.name}-2"
    assert manifest.read_bytes() == future


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"format": "1"}', b"[" * 100_000])
async def test_a_damaged_manifest_costs_its_model_only(tmp_path: Path, source: Path, damage: bytes) -> None:
    folder = await imported(tmp_path / "models", source)
    other = plain_llama(tmp_path / "other.gguf", seed=1)
    async with library_at(tmp_path / "models") as library:
        kept = await library.import_file(other)
        (folder / "manifest.json").write_bytes(damage)
        await library.rescan()
        assert library.models() == (kept,)
        assert "damaged" in library.problems()[0].reason


async def test_a_changed_manifest_is_damaged(tmp_path: Path, source: Path) -> None:
    folder = await imported(tmp_path / "models", source)
    raw = (folder / "manifest.json").read_bytes()
    assert encode(decode(raw)) == raw
    with pytest.raises(BadModelFile, match="hash does not match"):
        decode(raw.replace(b"Plain Llama", b"Plain Lhama"))


async def test_lost_notes_are_made_anew(tmp_path: Path, source: Path) -> None:
    folder = await imported(tmp_path / "models", source)
    (folder / "local.json").write_bytes(b"nonsense")
    async with library_at(tmp_path / "models") as library:
        await proven(library, folder.name)
        assert library.find(folder.name).complete


async def test_folders_without_manifest_are_named_and_left(tmp_path: Path) -> None:
    (tmp_path / "models" / "holiday").mkdir(parents=True)
    async with library_at(tmp_path / "models") as library:
        assert library.problems()[0].reason == "It has no manifest."
    assert (tmp_path / "models" / "holiday").is_dir()


# --- windows ----------------------------------------------------------------------------------------


async def test_impossible_layers_are_refused(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        for first, last in ((-1, 3), (3, 3), (5, 4), (0, 9), (8, None)):
            with pytest.raises(InvalidRequest, match="has layers 0 to 8"):
                await library.window(model, first, last, head=False)


async def test_opening_the_same_window_again_writes_nothing(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        first = await library.window(model, 2, 5)
        before = [identity(file) for file in first.files]
        assert await library.window(model, 2, 5) == first
        assert [identity(file) for file in first.files] == before


def identity(file: str) -> tuple[int, int]:
    stat = Path(file).stat()
    return stat.st_ino, stat.st_mtime_ns


def window_of(file: str) -> str | None:
    return read_header(Path(file)).metadata.text("swarm.window")


async def test_a_window_that_is_being_loaded_keeps_its_headers(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        async with library.opened(model, 0, 3) as window:
            other = asyncio.create_task(library.window(model))
            await asyncio.sleep(0.05)
            assert not other.done()
            assert {window_of(file) for file in window.files} == {"0-3-tokens"}
        assert {window_of(file) for file in (await other).files} == {"home"}


async def test_released_windows_leave_only_the_shards(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        model = (await library.import_file(source)).id
        await library.window(model, 2, 5)
        await library.release(model)
        assert not (root / model / store.WINDOWS).exists()
        assert (await library.window(model, 2, 5)).first == 2


async def test_data_never_changes_however_windows_are_opened(tmp_path: Path, source: Path) -> None:
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        for first, last in ((0, 3), (3, 8), (1, 2), (0, None), (7, 8)):
            await library.window(model, first, last)
        entry = await library.verify(model)
        assert all(shard.state == "present" for shard in entry.shards)


async def test_unknown_architectures_run_whole_only(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "plain.gguf")
    source.write_bytes(source.read_bytes().replace(b"llama", b"lhama"))
    async with library_at(tmp_path / "models") as library:
        entry = await library.import_file(source)
        assert (await library.window(entry.id)).whole
        assert "have not been tried" in entry.whole_only
        with pytest.raises(Unsupported, match="runs whole only: slices of the architecture 'lhama'"):
            await library.window(entry.id, 0, 4)


async def test_embedding_rows_are_those_of_the_table(tmp_path: Path, source: Path) -> None:
    import gguf
    import numpy as np

    table = next(t for t in gguf.GGUFReader(source).tensors if t.name == "token_embd.weight").data
    async with library_at(tmp_path / "models") as library:
        model = (await library.import_file(source)).id
        rows = np.frombuffer(await library.embed(model, [5, 0, 95, 5]), np.float32).reshape(4, 64)
        assert np.array_equal(rows, table[[5, 0, 95, 5]].astype(np.float32))
        assert await library.embed(model, []) == b""
        for token in (-1, 96):
            with pytest.raises(InvalidRequest, match="not in the vocabulary"):
                await library.embed(model, [token])


# --- the built-in model -----------------------------------------------------------------------------


async def test_the_builtin_model_is_imported_once_and_again_when_it_changes(
    tmp_path: Path, source: Path
) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        entry = await library.ensure_builtin(source)
        assert (entry.id, entry.builtin, entry.complete) == ("swarmllm-guide", True, True)
        assert "demonstration" in entry.name
    async with library_at(root) as library:
        assert await library.ensure_builtin(source) == entry
        newer = plain_llama(source, seed=2)
        assert (await library.ensure_builtin(newer)).root != entry.root
        assert [model.id for model in library.models()] == ["swarmllm-guide"]


async def test_a_configured_file_is_imported_once_and_again_when_it_changes(
    tmp_path: Path, source: Path
) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        entry = await library.ensure_file(source)
    async with library_at(root) as library:
        created = library.find(entry.id).created
        assert (await library.ensure_file(source)).created == created
        plain_llama(source, seed=3)
        assert (await library.ensure_file(source)).root != entry.root


async def test_a_configured_file_that_is_the_builtin_model_leaves_it_builtin(
    tmp_path: Path, source: Path
) -> None:
    root = tmp_path / "models"
    async with library_at(root) as library:
        entry = await library.ensure_builtin(source)
        assert await library.ensure_file(source) == entry
        assert await library.ensure_builtin(source) == entry
