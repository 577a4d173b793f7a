"""Files that are there whole or not at all, and errors of the disk as sentences."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from app.core.kernel.errors import DiskFull, StorageError
from app.core.kernel.units import human_bytes


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns an OSError inside into DiskFull or StorageError. `what` completes "Could not ..."."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise DiskFull(f"Could not {what}: the disk is full.") from error
        reason = error.strerror or str(error)
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            reason = f"the folder cannot be written to ({reason})"
        raise StorageError(f"Could not {what}: {reason}.") from error


def require_space(folder: Path, needed: int) -> None:
    """Raises DiskFull unless the disk of `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(
            f"{human_bytes(needed)} are needed on the disk of the model folder, {human_bytes(free)} are free."
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces `path` by `data`; after a crash it holds either the old or the new bytes."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` durable, where the system offers it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
