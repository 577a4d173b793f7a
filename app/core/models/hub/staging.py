"""The files of a download under way: shard files that fill up, and the rest. Blocking, for threads."""

import os
import threading
from collections.abc import Callable, Mapping
from io import FileIO as RawFile
from pathlib import Path
from typing import Final

from blake3 import blake3

from app.core.kernel.errors import BadModelFile
from app.core.models.hub.layout import REST, Layout, Piece
from app.core.models.manifest import Manifest, ShardRecord
from app.core.models.store import SHARDS
from app.core.models.storing import Progress, hash_shard, manifest_header

REST_NAME: Final = "rest"
_STEP: Final = 4 << 20


class Staging:
    """Shard files in `folder`/shards. `present` has the files of shards that the library holds already."""

    def __init__(
        self, *, folder: Path, manifest: Manifest, layout: Layout, present: Mapping[int, Path]
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._layout = layout
        self._present = dict(present)
        self._files: dict[int, tuple[RawFile, threading.Lock]] = {}

    def open(self, wanted: frozenset[int], metadata: bytes) -> set[int]:
        """Makes the files at their full size, with headers; returns those that were not there yet.

        `metadata` is the metadata shard's data.
        """
        fresh: set[int] = set()
        (self._folder / SHARDS).mkdir(parents=True, exist_ok=True)
        for shard in self._manifest.shards:
            if shard.index in wanted:
                file = self._opened(shard.index, shard.file_bytes, fresh)
                file.seek(0)
                header = manifest_header(self._manifest, shard)
                _write_all(file, memoryview(header + metadata if shard.kind == "metadata" else header))
                os.fsync(file.fileno())
        if self._layout.rest_bytes:
            self._opened(REST, self._layout.rest_bytes, fresh)
        return fresh

    def close(self) -> None:
        for file, _ in self._files.values():
            file.close()
        self._files.clear()

    def path(self, shard: int) -> Path:
        if shard == REST:
            return self._folder / REST_NAME
        return self._present.get(shard) or self._folder / SHARDS / self._manifest.shards[shard].file

    def write(self, piece: Piece, data: bytearray) -> bytes:
        """Puts a piece on the disk, for good; returns its BLAKE3."""
        view = memoryview(data)
        touched = set()
        for part in self._layout.within(*piece):
            begin = part.start - piece.start
            file, lock = self._files[part.shard]
            with lock:
                file.seek(part.offset)
                _write_all(file, view[begin : begin + part.length])
            touched.add(part.shard)
        for shard in touched:
            os.fsync(self._files[shard][0].fileno())
        return blake3(data).digest()

    def read(self, file: int, start: int, length: int, feed: Callable[[bytes], object]) -> None:
        """Gives `feed` the bytes of a range of a source file as they lie on the disk now."""
        for part in self._layout.within(file, start, length):
            with self.path(part.shard).open("rb", buffering=0) as source:
                source.seek(part.offset)
                left = part.length
                while left:
                    data = source.read(min(left, _STEP))
                    if not data:
                        raise BadModelFile("A file of the download became shorter than it was.")
                    feed(data)
                    left -= len(data)

    def digest(self, piece: Piece) -> bytes:
        hasher = blake3()
        self.read(*piece, hasher.update)
        return hasher.digest()

    def hash(self, shard: ShardRecord, progress: Progress) -> str:
        return hash_shard(self.path(shard.index), shard, progress)

    def _opened(self, shard: int, size: int, fresh: set[int]) -> RawFile:
        path = self.path(shard)
        file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._files[shard] = (file, threading.Lock())
        if file.seek(0, 2) != size:
            file.truncate(size)
            fresh.add(shard)
        return file


def _write_all(file: RawFile, data: memoryview) -> None:
    """A raw write may take a part only, e.g. when the disk fills up; the next one then says why."""
    while data:
        data = data[file.write(data) :]
