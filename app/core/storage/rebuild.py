"""Moves a damaged database out of the way, so that it can still be looked into."""

import time
from pathlib import Path

from app.core.storage.files import storage_error


def set_aside(path: Path) -> Path:
    """Renames the database `path` and its journals to names ending in ".corrupt-<UTC time>".

    Returns the database's new path. Raises StorageError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    try:
        path.replace(target)
        for suffix in ("-wal", "-shm"):
            journal = path.with_name(path.name + suffix)
            if journal.exists():
                journal.replace(target.with_name(target.name + suffix))
    except OSError as error:
        raise storage_error("set aside", path, error) from error
    return target
