"""Brings a model's bytes into shard files, hashing them on the way. Blocking: for threads only."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import BinaryIO, Final

from blake3 import blake3

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.types import padded
from app.core.models.gguf.writer import TensorEntry
from app.core.models.headers import Place, compose, compose_metadata
from app.core.models.manifest import Manifest, ShardRecord

CHUNK: Final = 8 << 20
PARALLEL_HASH: Final = 1 << 20
HOME: Final = "home"


class Cancelled(Exception):
    """The caller gave up waiting; what was written so far is removed."""


class Progress:
    """Counts bytes, tells the caller, and ends the work when it is no longer wanted."""

    def __init__(self, total: int, report: Callable[[float], None], cancel: Event) -> None:
        self._total = max(1, total)
        self._done = 0
        self._report = report
        self._cancel = cancel

    def advance(self, count: int) -> None:
        if self._cancel.is_set():
            raise Cancelled
        self._done += count
        self._report(min(1.0, self._done / self._total))


def home_header(
    shard: ShardRecord, *, architecture: str, alignment: int, shards: Sequence[ShardRecord]
) -> bytes:
    """The header under which the shard is a part of the whole model."""
    n_tensors = sum(len(other.tensors) for other in shards)
    place = Place(shard.index, len(shards), n_tensors, HOME)
    if shard.kind == "metadata":
        return compose_metadata(n_fields=shard.fields, place=place)
    entries = [TensorEntry(tensor.name, tensor.shape, tensor.kind, tensor.offset) for tensor in shard.tensors]
    return compose(
        size=shard.header_bytes, architecture=architecture, alignment=alignment, place=place, tensors=entries
    )


def copy_shard(
    shard: ShardRecord,
    *,
    sources: Sequence[Path],
    target: Path,
    header: bytes,
    alignment: int,
    progress: Progress,
) -> str:
    """Writes the shard file `target` from the source files; returns the BLAKE3 of its data, as hex."""
    hasher = blake3(max_threads=blake3.AUTO)
    with ExitStack() as stack:
        output = stack.enter_context(target.open("xb"))
        output.write(header)
        written = 0
        for part in shard.ranges:
            gap = (padded(written, alignment) if shard.kind != "metadata" else written) - written
            output.write(bytes(gap))
            hasher.update(bytes(gap))
            written += gap + part.length
            with sources[part.file].open("rb", buffering=0) as source:
                source.seek(part.start)
                _copy_range(source, output, part.length, hasher, progress)
        output.flush()
        os.fsync(output.fileno())
    return hasher.hexdigest()


def _copy_range(source: BinaryIO, output: BinaryIO, length: int, hasher: blake3, progress: Progress) -> None:
    buffer = memoryview(bytearray(min(CHUNK, max(1, length))))
    while length:
        count = source.readinto(buffer[: min(length, len(buffer))])  # type: ignore[attr-defined]
        if not count:
            raise BadModelFile("The model file became shorter while it was imported.")
        hasher.update(buffer[:count])
        output.write(buffer[:count])
        length -= count
        progress.advance(count)


def hash_shard(path: Path, shard: ShardRecord, progress: Progress) -> str:
    """The BLAKE3 of the data region of a shard file, as hex."""
    hasher = blake3(max_threads=blake3.AUTO)
    buffer = memoryview(bytearray(CHUNK))
    left = shard.data_bytes
    with path.open("rb", buffering=0) as file:
        file.seek(shard.header_bytes)
        while left:
            count = file.readinto(buffer[: min(left, CHUNK)])
            if not count:
                raise BadModelFile(f"The shard {path.name} is shorter than it should be.")
            hasher.update(buffer[:count])
            left -= count
            progress.advance(count)
    return hasher.hexdigest()


def manifest_header(manifest: Manifest, shard: ShardRecord) -> bytes:
    """The home header of a shard of a stored model."""
    return home_header(
        shard,
        architecture=manifest.facts.architecture,
        alignment=manifest.alignment,
        shards=manifest.shards,
    )
