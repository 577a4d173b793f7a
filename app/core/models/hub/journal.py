"""Remembers which pieces are on the disk, so that a killed download goes on where it was. Blocking.

A file of records that is only ever appended to: first the fingerprint of the layout, then for each piece
its number and the BLAKE3 of its bytes. A record is written after the piece it speaks of is on the disk and
carries a check of itself, so what a crash tore off at the end is recognised and dropped.
"""

import os
import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from blake3 import blake3

_RECORD: Final = struct.Struct("<q32s8s")
_START: Final = -1
MAX_JOURNAL: Final = 1 << 28


class Journal:
    """The journal at `path` of a download whose layout has `fingerprint` and `count` pieces."""

    def __init__(self, path: Path, *, fingerprint: bytes, count: int) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._count = count
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self.proven: dict[int, bytes] = {}

    def open(self) -> None:
        """Reads what is there and makes it ready for more. Raises OSError."""
        raw = b""
        if self._path.is_file() and self._path.stat().st_size <= MAX_JOURNAL:
            raw = self._path.read_bytes()
        sound = self._read(raw)
        self._file = self._path.open("r+b" if raw else "w+b", buffering=0)
        self._file.truncate(sound)
        self._file.seek(sound)
        if not sound:
            self._append(_START, self._fingerprint)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, piece: int, digest: bytes) -> None:
        """Notes that a piece with this hash is on the disk."""
        with self._lock:
            self._append(piece, digest)
            self.proven[piece] = digest

    def restart(self, proven: Mapping[int, bytes]) -> None:
        """Forgets every piece that is not in `proven`."""
        assert self._file is not None
        self._file.truncate(0)
        self._file.seek(0)
        self._append(_START, self._fingerprint)
        self.proven.clear()
        for piece, digest in proven.items():
            self.add(piece, digest)

    def _append(self, number: int, digest: bytes) -> None:
        assert self._file is not None
        self._file.write(_RECORD.pack(number, digest, _check(number, digest)))
        os.fsync(self._file.fileno())

    def _read(self, raw: bytes) -> int:
        """Takes up the records that are sound; returns how many bytes they have."""
        position = 0
        while position + _RECORD.size <= len(raw):
            number, digest, check = _RECORD.unpack_from(raw, position)
            if check != _check(number, digest):
                break
            if position == 0:
                if (number, digest) != (_START, self._fingerprint):
                    break
            elif not 0 <= number < self._count:
                break
            else:
                self.proven[number] = digest
            position += _RECORD.size
        return position


def _check(number: int, digest: bytes) -> bytes:
    return blake3(struct.pack("<q", number) + digest).digest(8)
