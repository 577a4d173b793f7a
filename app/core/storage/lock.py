"""An exclusive lock on a file, held by the operating system and freed by it when the process ends."""

import contextlib
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from app.core.kernel.errors import StorageError
from app.core.storage.files import storage_error

# Behind the pid that the file begins with: Windows forbids others to read a locked range.
_LOCKED_OFFSET = 1 << 20

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> None:
        os.lseek(handle, _LOCKED_OFFSET, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """`with FileLock(path):` holds the lock; entering raises StorageError if another process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def __enter__(self) -> Self:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise storage_error("locked", self._path, error) from error
        try:
            self._take(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is None:
            return
        # The file stays: removing it would let two processes lock two files of one name.
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = None

    def _take(self, handle: int) -> None:
        try:
            _try_lock(handle)
        except (BlockingIOError, PermissionError) as error:
            raise StorageError(
                f"The data directory {self._path.parent} is in use by another node{self._holder(handle)}. "
                "Stop that node, or give this one another directory with --data-dir."
            ) from error
        except OSError as error:
            raise storage_error("locked", self._path, error) from error
        try:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise storage_error("written", self._path, error) from error

    @staticmethod
    def _holder(handle: int) -> str:
        os.lseek(handle, 0, os.SEEK_SET)
        text = os.read(handle, 32).strip()
        return f" (process {int(text)})" if text.isdigit() else ""
