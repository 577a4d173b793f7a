"""kill -9 at any moment of an import or of opening windows: the next start is clean and loses nothing."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.core.models import importing, store, storing
from app.core.models.manifest import Manifest
from tests.support.gguf_library import library_at
from tests.support.gguf_models import ROOT, plain_llama

SHOTS = random.Random(7)


def importing_child(source: Path, root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.gguf_import", str(source), str(root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def import_seconds(source: Path, root: Path) -> float:
    """How long an undisturbed import takes here and now."""
    child = importing_child(source, root)
    assert child.stdout is not None
    with child, child.stdout as output:
        assert output.readline() == "ready\n"
        began = time.monotonic()
        assert "done" in output.read()
        return time.monotonic() - began


def killed_import(source: Path, root: Path, delay: float) -> bool:
    """Kills the child `delay` seconds after it began; returns whether it was still at work."""
    child = importing_child(source, root)
    assert child.stdout is not None
    with child, child.stdout as output:
        assert output.readline() == "ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        return "done" not in output.read()


async def state_after_restart(source: Path, root: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Starts, checks that what is there is sound, imports again, and returns the shards."""
    async with library_at(root) as library:
        for entry in library.models():
            checked = await library.verify(entry.id)
            assert all(shard.state == "present" for shard in checked.shards)
        assert not library.problems()
        assert not (root / store.INCOMING).exists()
        entry = await library.import_file(source)
        assert (await library.window(entry.id)).whole
        shards = root / entry.id / store.SHARDS
        return library.manifest(entry.id), {path.name: path.read_bytes() for path in shards.iterdir()}


async def test_a_killed_import_leaves_nothing_behind(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "model.gguf", layers=8, width=256)
    expected = await state_after_restart(source, tmp_path / "undisturbed")
    length = import_seconds(source, tmp_path / "measured")
    assert any(killed_import(source, tmp_path / "models", length * part) for part in (0.5, 0.3, 0.1, 0.0))
    assert await state_after_restart(source, tmp_path / "models") == expected


@pytest.mark.slow
async def test_twenty_killed_imports_leave_nothing_behind(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "model.gguf", layers=8, width=512)
    expected = await state_after_restart(source, tmp_path / "undisturbed")
    struck, length = 0, import_seconds(source, tmp_path / "measured")
    for shot in range(20):
        root = tmp_path / f"models-{shot}"
        struck += killed_import(source, root, SHOTS.uniform(0, length))
        assert await state_after_restart(source, root) == expected
    assert struck >= 5


class Killed(BaseException):
    """Stands for the process ending at a chosen place."""


@pytest.mark.parametrize("write", range(8))
async def test_a_crash_at_any_step_of_settling_leaves_a_clean_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """Every step after the shards: the folder is copied as it stands there, and started from."""
    source = plain_llama(tmp_path / "model.gguf", layers=2)
    root, snapshot = tmp_path / "models", tmp_path / "snapshot"
    steps = 0

    def trap(module: object, name: str) -> None:
        original = getattr(module, name)

        def step(*args: object, **kwargs: object) -> object:
            nonlocal steps
            if steps == write and not snapshot.exists():
                subprocess.run(["cp", "-a", str(root), str(snapshot)], check=True)
            steps += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, step)

    trap(storing.os, "fsync")
    trap(importing, "write_atomically")
    trap(importing, "save_local")
    trap(importing, "sync_folder")
    async with library_at(root) as library:
        await library.import_file(source)
    monkeypatch.undo()
    assert steps > write
    manifest, shards = await state_after_restart(source, snapshot)
    expected_manifest, expected = await state_after_restart(source, root)
    assert (manifest, shards) == (expected_manifest, expected)
    assert {path.name for path in snapshot.iterdir()} == {path.name for path in root.iterdir()}
