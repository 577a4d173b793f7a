"""Proves what lies on the disk while more is arriving: each file's hash as the hub states it, each shard's.

A file is hashed in its own order, as far as it is there without gaps; a shard when it is complete. Both read
the disk, so what is proven is what the library will hold and not what once was in memory.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from threading import Event
from typing import Final

from app.core.kernel.errors import BadModelFile
from app.core.models.hub.answers import HubFile
from app.core.models.hub.layout import Layout
from app.core.models.hub.staging import Staging
from app.core.models.manifest import Manifest
from app.core.models.storing import Progress
from app.core.models.threads import finish

STEP: Final = 64 << 20


class WrongBytes(BadModelFile):
    """What arrived is not what the hub lists."""


class Prover:
    """`wanted` shards are hashed; with `whole`, files too, whose beginnings are `heads`."""

    def __init__(
        self,
        *,
        staging: Staging,
        layout: Layout,
        manifest: Manifest,
        files: Sequence[HubFile],
        heads: Sequence[bytes],
        wanted: Iterable[int],
        whole: bool,
    ) -> None:
        self._staging = staging
        self._layout = layout
        self._manifest = manifest
        self._unhashed = set(wanted)
        self._proofs = [
            _Proof(number, file, head, layout)
            for number, (file, head) in enumerate(zip(files, heads, strict=True))
            if whole
        ]
        self._missing = set(range(len(layout.pieces)))
        self._left: Counter[int] = Counter()
        for piece in layout.pieces:
            for part in layout.within(*piece):
                self._left[part.shard] += part.length
        self._news = asyncio.Event()
        self.hashes: dict[int, str] = {}

    def arrived(self, piece: int) -> None:
        """Tells that a piece is on the disk."""
        self._missing.discard(piece)
        for part in self._layout.within(*self._layout.pieces[piece]):
            self._left[part.shard] -= part.length
        self._news.set()

    def left_of(self, shard: int) -> int:
        """Bytes of a shard that are not there yet."""
        return self._left[shard]

    async def run(self) -> None:
        """Returns when everything is proven. Raises WrongBytes."""
        self._news.set()
        while self._unhashed or self._proofs:
            await self._news.wait()
            self._news.clear()
            for index in sorted(index for index in self._unhashed if not self._left[index]):
                await self._hash(index)
            while self._proofs and await self._advance(self._proofs[0]):
                self._proofs.pop(0)

    async def _hash(self, index: int) -> None:
        shard, stop = self._manifest.shards[index], Event()
        progress = Progress(shard.data_bytes, lambda _: None, stop)
        work = partial(self._staging.hash, shard, progress)
        self.hashes[index] = await finish(work, name=f"hashing shard {index}", cancel=stop.set)
        self._unhashed.discard(index)

    async def _advance(self, proof: "_Proof") -> bool:
        """Hashes what is there of a file; whether that was all of it. Raises WrongBytes."""
        end = proof.reach(self._missing)
        while proof.position < end:
            work = partial(proof.read, self._staging, min(STEP, end - proof.position))
            await finish(work, name="proving a file")
        return proof.done()


class _Proof:
    """The hash of one file, as far as it has got."""

    def __init__(self, number: int, file: HubFile, head: bytes, layout: Layout) -> None:
        self._number = number
        self._file = file
        self._pieces = [
            (index, piece.start) for index, piece in enumerate(layout.pieces) if piece.file == number
        ]
        self._next = 0
        self._hasher = hashlib.sha256()
        if file.digest.startswith("git:"):
            self._hasher = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        self._hasher.update(head)
        self.position = len(head)

    def reach(self, missing: set[int]) -> int:
        """How far the file is there without gaps."""
        while self._next < len(self._pieces) and self._pieces[self._next][0] not in missing:
            self._next += 1
        return self._pieces[self._next][1] if self._next < len(self._pieces) else self._file.size

    def read(self, staging: Staging, length: int) -> None:
        staging.read(self._number, self.position, length, self._hasher.update)
        self.position += length

    def done(self) -> bool:
        if self.position < self._file.size:
            return False
        if self._hasher.hexdigest() != self._file.digest.partition(":")[2]:
            raise WrongBytes(f"The file {self._file.path} arrived with another hash than the hub states.")
        return True
