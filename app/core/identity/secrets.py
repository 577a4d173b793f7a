"""The node's secrets by name, wherever they are kept."""

import asyncio
import re
from pathlib import Path

import msgspec

from app.core.identity.backends import Backend, BackendName
from app.core.identity.record import Record, write_record
from app.core.kernel.errors import SecretsError

_NAME = re.compile(r"[a-z0-9_]{1,64}")

_PLACES: dict[BackendName, str] = {
    "keychain": "in the keychain",
    "vault": "in the encrypted vault",
    "file": "in its file",
}


class Secrets:
    """Gets, sets and deletes named secrets, one call at a time and off the loop's thread.

    Names are lower-case letters, digits and "_". `backend` says where they are; `warning`, if any, is a
    sentence that the user should read. Every method raises SecretsError.
    """

    def __init__(self, *, store: Backend, record: Record, record_path: Path, warning: str | None) -> None:
        self._store = store
        self._record = record
        self._record_path = record_path
        self._turn = asyncio.Lock()
        self.warning = warning

    @property
    def backend(self) -> BackendName:
        return self._store.kind

    async def get(self, name: str) -> str | None:
        """The secret `name`, or None if it was never set. One that was set but is gone is an error."""
        async with self._turn:
            value = await asyncio.to_thread(self._store.get, _checked(name))
        if value is None and name in self._record.names:
            raise SecretsError(
                f'The secret "{name}" of this node is no longer {_PLACES[self.backend]}. Restore it; or '
                f"remove {self._record_path}, and the node makes new keys and is a new node to others."
            )
        return value

    async def set(self, name: str, value: str) -> None:
        async with self._turn:
            await asyncio.to_thread(self._set, _checked(name), value)

    async def delete(self, name: str) -> None:
        async with self._turn:
            await asyncio.to_thread(self._delete, _checked(name))

    def _set(self, name: str, value: str) -> None:
        self._store.set(name, value)
        if name not in self._record.names:
            self._note((*self._record.names, name))

    def _delete(self, name: str) -> None:
        # Unlisted first: a crash in between must not make the next start miss it.
        if name in self._record.names:
            self._note(tuple(kept for kept in self._record.names if kept != name))
        self._store.delete(name)

    def _note(self, names: tuple[str, ...]) -> None:
        record = msgspec.structs.replace(self._record, names=names)
        write_record(self._record_path, record)
        self._record = record


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a secret")
    return name
