"""The note in the data directory of where its secrets are, so that none is ever replaced by mistake.

It holds no secret: the namespace under which the keychain keeps this directory's entries, the backend in
use, and the names of the secrets that exist.
"""

import secrets as random_source
from pathlib import Path
from typing import Annotated

import msgspec

from app.core.identity.backends import BackendName
from app.core.kernel.errors import SecretsError, StorageError
from app.core.storage.files import read_private, write_private

MAX_RECORD_BYTES = 1 << 16


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    namespace: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    backend: BackendName
    names: tuple[str, ...] = ()


def new_record(backend: BackendName) -> Record:
    return Record(namespace=random_source.token_hex(8), backend=backend)


def read_record(path: Path) -> Record | None:
    """The record at `path`, or None if this directory has no secrets yet. Raises SecretsError."""
    try:
        data = read_private(path, limit=MAX_RECORD_BYTES)
        return None if data is None else msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError as error:
        raise SecretsError(
            f"The file {path}, which says where this node's keys are, is damaged. Restore it; or remove it, "
            "and keys that were in the keychain are made anew."
        ) from error
    except StorageError as error:
        raise SecretsError(error.message) from error


def write_record(path: Path, record: Record) -> None:
    """Raises SecretsError."""
    try:
        write_private(path, msgspec.json.encode(record) + b"\n")
    except StorageError as error:
        raise SecretsError(error.message) from error
