"""Opening libraries in tests, and disks of their own for them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.kernel.events import EventBus
from app.core.models.library import Library

needs_mount = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can mount a disk for the test"
)


def reraise(error: Exception) -> None:
    raise error


def library_at(root: Path, *, max_disk_mb: int = 0, bus: EventBus | None = None) -> Library:
    return Library(root=root, bus=bus or EventBus(reraise), shard_size_mb=64, max_disk_mb=max_disk_mb)


@contextlib.contextmanager
def mounted(folder: Path, *, size: str) -> Iterator[Path]:
    """A small disk of its own at `folder`."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


@contextlib.contextmanager
def image_mounted(kind: str, image: Path, folder: Path) -> Iterator[Path]:
    """A filesystem of `kind` in a file, mounted at `folder`; skips the test where that cannot be done."""
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    for command in ([f"mkfs.{kind}", str(image)], ["mount", "-o", "loop", str(image), str(folder)]):
        try:
            _run(*command)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no {kind} here: {error}")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def remount(folder: Path, options: str) -> None:
    _run("mount", "-o", f"remount,{options}", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
