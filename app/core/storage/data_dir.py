"""The folder that holds everything a node keeps, and the lock that keeps a second node out of it."""

import contextlib
import errno
import logging
import os
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from app.core.kernel.errors import StorageError
from app.core.storage.files import storage_error
from app.core.storage.lock import FileLock

log = logging.getLogger(__name__)

LOCK_NAME = "node.lock"


class DataDir:
    """A node's data directory.

    Entering it makes the folder with mode 0700 where it is missing, proves that it can be written, and
    locks it. Raises StorageError if it cannot be used or another node holds it, DiskFull if no byte fits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock = FileLock(self.path / LOCK_NAME)

    @property
    def models(self) -> Path:
        """Where the model library lives."""
        return self.path / "models"

    @property
    def database(self) -> Path:
        return self.path / "db.sqlite3"

    @property
    def runtime(self) -> Path:
        """Where a running node says how to reach it."""
        return self.path / "runtime.json"

    def __enter__(self) -> Self:
        self._make()
        self._lock.__enter__()
        try:
            self._prove_writable()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            if not self.path.is_dir():
                raise StorageError(f"The data directory {self.path} is a file, not a folder.")
            self._warn_if_shared()
        except OSError as error:
            raise storage_error("used as data directory", self.path, error) from error

    def _warn_if_shared(self) -> None:
        """Others' rights on an existing folder are the user's doing, so they are told and kept."""
        if os.name != "posix":
            return
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o077:
            log.warning(
                "Other users of this computer can look into the data directory %s (mode %o); "
                "run `chmod 700` on it unless that is intended.",
                self.path,
                mode,
            )

    def _prove_writable(self) -> None:
        try:
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise StorageError(
                    f"The data directory {self.path} cannot be written. Make it writable for this user, or "
                    "choose another with --data-dir."
                ) from error
            raise storage_error("used as data directory", self.path, error) from error
