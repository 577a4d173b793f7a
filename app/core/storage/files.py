"""Small files that are replaced as a whole or not at all, and only their user can read."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from app.core.kernel.errors import DiskFull, StorageError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC})


def storage_error(action: str, path: Path, error: OSError) -> StorageError:
    """The StorageError (or DiskFull) that tells what `error` means for `action` on `path`."""
    if error.errno in _NO_SPACE:
        return DiskFull(f"{path} could not be {action}: there is no space left on the disk.")
    reason = error.strerror or type(error).__name__
    return StorageError(f"{path} could not be {action}: {reason[:1].lower()}{reason[1:]}.")


def write_private(path: Path, data: bytes) -> None:
    """Replaces `path` by `data` atomically and durably, readable by its user only (mode 0600).

    A crash at any moment leaves the old content or the new. Raises StorageError.
    """
    try:
        _replace(path, data)
    except OSError as error:
        raise storage_error("written", path, error) from error


def read_private(path: Path, *, limit: int) -> bytes | None:
    """The content of `path`, or None if there is no such file.

    Raises StorageError if it cannot be read or has more than `limit` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error("read", path, error) from error
    if len(data) > limit:
        raise StorageError(f"{path} is larger than the {limit} bytes it may have.")
    return data


def _replace(path: Path, data: bytes) -> None:
    # mkstemp gives mode 0600 where modes exist; on Windows the folder's rights apply.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
