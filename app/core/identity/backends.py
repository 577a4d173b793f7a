"""What a place for secrets can do, and a plain one."""

import contextlib
from pathlib import Path
from typing import Literal, Protocol

from app.core.kernel.errors import SecretsError, StorageError
from app.core.storage.files import read_private, storage_error, write_private

BackendName = Literal["keychain", "vault", "file"]

MAX_SECRET_BYTES = 1 << 16


class Backend(Protocol):
    """Keeps named secrets. Calls block, are made one at a time, and raise SecretsError."""

    @property
    def kind(self) -> BackendName: ...

    def get(self, name: str) -> str | None: ...

    def set(self, name: str, value: str) -> None: ...

    def delete(self, name: str) -> None:
        """Forgets `name`; what is not there is no error."""
        ...


class FileBackend:
    """One file per secret, readable by its user only: no protection beyond the file system's rights."""

    kind: BackendName = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """The secrets that are there."""
        try:
            files = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SecretsError(storage_error("read", self._folder, error).message) from error
        return tuple(file.name for file in files if not file.name.startswith("."))

    def get(self, name: str) -> str | None:
        try:
            data = read_private(self._folder / name, limit=MAX_SECRET_BYTES)
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SecretsError(f"The secret file {self._folder / name} is damaged.") from error
        except StorageError as error:
            raise SecretsError(error.message) from error

    def set(self, name: str, value: str) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_private(self._folder / name, value.encode("utf-8"))
        except OSError as error:
            raise SecretsError(storage_error("made", self._folder, error).message) from error
        except StorageError as error:
            raise SecretsError(error.message) from error

    def delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise SecretsError(storage_error("removed", self._folder / name, error).message) from error
        with contextlib.suppress(OSError):
            self._folder.rmdir()
