"""Brings a model's bytes into shard files, hashing them on the way. Blocking: for threads only."""

import os
from collections.abc import Callable, Iterator, Sequence
from io import FileIO as RawFile
from pathlib import Path
from threading import Event
from typing import BinaryIO, Final

from blake3 import blake3

from app.core.kernel.errors import BadModelFile
from app.core.models.cloning import share_blocks
from app.core.models.gguf.types import padded
from app.core.models.gguf.writer import TensorEntry
from app.core.models.headers import Place, compose, compose_metadata
from app.core.models.manifest import Manifest, ShardRecord, SourceRange

# Stays in the processor's cache from reading to writing; with 8 MiB an import took twice as long.
CHUNK: Final = 1 << 20
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


def copy_shard(
    shard: ShardRecord,
    *,
    sources: Sequence[Path],
    target: Path,
    header: bytes,
    alignment: int,
    progress: Progress,
) -> str:
    """Writes the shard file `target` from the source files; returns the BLAKE3 of its data, as hex.

    It is on disk only behind `flush_file`.
    """
    hasher = blake3(max_threads=blake3.AUTO)
    with target.open("xb") as output:
        output.write(header)
        written = 0
        for part in shard.ranges:
            gap = (padded(written, alignment) if shard.kind != "metadata" else written) - written
            hasher.update(bytes(gap))
            written += gap
            with sources[part.file].open("rb", buffering=0) as source:
                start = shard.header_bytes + written
                _copy_range(source, part, output, start, hasher=hasher, progress=progress)
            written += part.length
    return hasher.hexdigest()


def flush_file(path: Path) -> None:
    """Returns when all of a file is on disk."""
    with path.open("r+b", buffering=0) as file:
        os.fsync(file.fileno())


def _copy_range(
    source: RawFile, part: SourceRange, output: BinaryIO, start: int, *, hasher: blake3, progress: Progress
) -> None:
    """Hashes a range of the source while copying it to `start`; blocks that can be shared are not copied."""
    shared = share_blocks(source, part.start, output, start, part.length)
    for begin, end, copied in (
        (0, shared.start, True),
        (shared.start, shared.stop, False),
        (shared.stop, part.length, True),
    ):
        source.seek(part.start + begin)
        output.seek(start + begin)
        for chunk in _chunks(source, end - begin, progress):
            hasher.update(chunk)
            if copied:
                output.write(chunk)


def _chunks(source: RawFile, length: int, progress: Progress) -> Iterator[memoryview]:
    """The next `length` bytes in pieces, each valid until the next is asked for."""
    buffer = memoryview(bytearray(max(1, min(CHUNK, length))))
    while length:
        count = source.readinto(buffer[: min(length, len(buffer))])
        if not count:
            raise BadModelFile("The file became shorter while it was read.")
        yield buffer[:count]
        length -= count
        progress.advance(count)


def hash_shard(path: Path, shard: ShardRecord, progress: Progress) -> str:
    """The BLAKE3 of the data region of a shard file, as hex."""
    hasher = blake3(max_threads=blake3.AUTO)
    with path.open("rb", buffering=0) as file:
        file.seek(shard.header_bytes)
        for chunk in _chunks(file, shard.data_bytes, progress):
            hasher.update(chunk)
    return hasher.hexdigest()


def manifest_header(manifest: Manifest, shard: ShardRecord) -> bytes:
    """The header under which a shard is a part of the whole model."""
    n_tensors = sum(len(other.tensors) for other in manifest.shards)
    place = Place(shard.index, len(manifest.shards), n_tensors, HOME)
    if shard.kind == "metadata":
        return compose_metadata(n_fields=shard.fields, place=place)
    return compose(
        size=shard.header_bytes,
        architecture=manifest.facts.architecture,
        alignment=manifest.alignment,
        place=place,
        tensors=[TensorEntry(t.name, t.shape, t.kind, t.offset) for t in shard.tensors],
    )
