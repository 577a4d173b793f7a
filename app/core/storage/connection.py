"""Opens and checks one SQLite connection and brings its schema up to date; all of it blocks."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from app.core.kernel.errors import DiskFull, StorageError
from app.core.storage.files import storage_error
from app.core.storage.migrations import Migration

BUSY_SECONDS = 5.0

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Damaged(Exception):
    """The file is no sound database; the text says how that was noticed."""


def open_connection(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """An open, sound and migrated database.

    Raises Damaged, StorageError, or DiskFull; a database of a newer version is left untouched.
    """
    _create_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(connection, path, migrations)
    except sqlite3.Error as error:
        _close(connection)
        if _primary_code(error) in _DAMAGE:
            raise Damaged(str(error)) from error
        raise
    except BaseException:
        _close(connection)
        raise
    return connection


def sentence(error: sqlite3.Error, path: Path) -> StorageError:
    """What `error` means to a user, as a StorageError."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(f"The database {path} could not be written: there is no space left on the disk.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"The database {path} is held by another program. Close that program and try again."
        )
    if code in _DAMAGE:
        return StorageError(f"The database {path} is damaged. Restart the node: it makes a new one.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return StorageError(f"The database {path} cannot be opened for writing.")
    return StorageError(f"The database {path} failed: {error}.")


def _create_private(path: Path) -> None:
    """SQLite gives its journals the mode of the database."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise storage_error("opened", path, error) from error


def _prepare(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    _refuse_newer(_applied(connection), migrations, path)
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Damaged(str(verdict).partition("\n")[0])
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    _migrate(connection, migrations)


def _applied(connection: sqlite3.Connection) -> list[str]:
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'").fetchone()
    if known is None:
        return []
    return [str(name) for (name,) in connection.execute("SELECT name FROM schema_migrations ORDER BY number")]


def _refuse_newer(applied: Sequence[str], migrations: Sequence[Migration], path: Path) -> None:
    names = [migration.name for migration in migrations]
    if list(applied) != names[: len(applied)]:
        raise StorageError(
            f"The database {path} was written by a newer version of this program. Update the program; the "
            "database has not been changed."
        )


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied_at INTEGER NOT NULL) STRICT"
    )
    done = len(_applied(connection))
    for number, migration in enumerate(migrations[done:], start=done + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?)", (number, migration.name, int(time.time()))
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _primary_code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        connection.close()
