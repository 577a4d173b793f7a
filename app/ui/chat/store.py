"""Chats on disk: one JSON file each, replaced atomically, so that a crash costs no written message.

A file that cannot be read is set aside as `NAME.damaged` and reported, never deleted.
"""

import asyncio
import contextlib
import logging
import os
import re
import tempfile
from pathlib import Path

import msgspec

from app.ui.chat.model import VERSION, Chat

log = logging.getLogger(__name__)

_MAX_BYTES = 32 * 1024 * 1024
_ID = re.compile(r"[0-9a-f]{8,64}")


class ChatStore:
    """Reads and writes in threads; writes happen one at a time, in the order in which they were asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def load(self) -> list[Chat]:
        """Every readable chat, the last changed first."""
        return await asyncio.to_thread(self._load)

    async def save(self, chat: Chat) -> None:
        """Writes `chat` as it is at the moment of the call. Raises OSError."""
        encoded = msgspec.json.format(msgspec.json.encode(chat), indent=1)
        async with self._lock:
            await asyncio.to_thread(self._write, self._path(chat.id), encoded)

    async def delete(self, chat_id: str) -> None:
        async with self._lock:
            await asyncio.to_thread(self._path(chat_id).unlink, missing_ok=True)

    def _path(self, chat_id: str) -> Path:
        if not _ID.fullmatch(chat_id):
            raise ValueError(f"{chat_id!r} is not a chat's id")
        return self._folder / f"{chat_id}.json"

    def _load(self) -> list[Chat]:
        if not self._folder.is_dir():
            return []
        chats = [chat for path in self._folder.glob("*.json") if (chat := _read(path)) is not None]
        return sorted(chats, key=lambda chat: chat.updated, reverse=True)

    def _write(self, path: Path, encoded: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


def _read(path: Path) -> Chat | None:
    try:
        chat = _decode(path)
    except (OSError, ValueError) as error:
        _set_aside(path, error)
        return None
    if chat.version > VERSION:
        log.warning("The chat %s was written by a newer version and is left out.", path.name)
        return None
    return chat


def _decode(path: Path) -> Chat:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    chat = msgspec.json.decode(path.read_bytes(), type=Chat)
    if f"{chat.id}.json" != path.name or not _ID.fullmatch(chat.id):
        raise ValueError("its name is not its id")
    return chat


def _set_aside(path: Path, error: Exception) -> None:
    log.warning("The chat %s cannot be read (%s); it is kept as %s.damaged.", path.name, error, path.name)
    with contextlib.suppress(OSError):
        path.replace(path.with_name(f"{path.name}.damaged"))
