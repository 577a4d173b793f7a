"""Imports share the source's blocks on filesystems that can, and copy elsewhere, to the same result."""

from pathlib import Path

import pytest

from app.core.models.cloning import copy_range, share_blocks
from tests.support.gguf_library import image_mounted, library_at, needs_mount
from tests.support.gguf_models import plain_llama


@pytest.mark.parametrize(("start", "target_start", "length"), [(0, 0, 10_000), (5, 4_101, 9_000), (7, 0, 50)])
def test_ranges_are_copied_anywhere(tmp_path: Path, start: int, target_start: int, length: int) -> None:
    data = bytes(number % 251 for number in range(20_000))
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("wb") as target:
        copy_range(source, start, target, target_start, length)
    copied = (tmp_path / "b").read_bytes()
    assert copied[target_start:] == data[start : start + length]


def test_a_source_that_ends_too_early_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"short")
    with (
        (tmp_path / "a").open("rb") as source,
        (tmp_path / "b").open("wb") as target,
        pytest.raises(EOFError),
    ):
        copy_range(source, 0, target, 0, 50)


@needs_mount
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
async def test_an_import_takes_no_room_where_blocks_can_be_shared(tmp_path: Path, kind: str) -> None:
    with image_mounted(kind, tmp_path / "image", tmp_path / "disk") as disk:
        source = plain_llama(disk / "model.gguf", layers=8, width=768)
        with source.open("rb") as file, (disk / "probe").open("wb") as probe:
            assert share_blocks(file, 0, probe, 0, 8_192) == range(8_192)
        async with library_at(disk / "models") as library:
            entry = await library.import_file(source)
            shared = extents_shared(disk / "models" / entry.id / "shards" / "004-layers.gguf")
            assert shared
            assert (await library.verify(entry.id)).complete


def extents_shared(path: Path) -> bool:
    """What filefrag says of the file's blocks."""
    import subprocess

    done = subprocess.run(["filefrag", "-v", str(path)], capture_output=True, text=True, check=True)
    return "shared" in done.stdout
