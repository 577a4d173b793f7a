"""SQLite in WAL mode behind one thread of its own, with an async face.

What a call has returned from is on disk: a kill of the process or the machine loses nothing that was
acknowledged and leaves no half-done transaction. A damaged database is set aside and a new one made.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from app.core.kernel.errors import StorageError
from app.core.storage.connection import Damaged, open_connection, sentence
from app.core.storage.migrations import MIGRATIONS, Migration
from app.core.storage.rebuild import set_aside

log = logging.getLogger(__name__)

T = TypeVar("T")
Parameters = Sequence[str | int | float | bytes | None]


class Database:
    """The node's database. `async with` opens it, migrates it, and closes it.

    Statements run one after the other in the order of the calls. `on_rebuilt` is called on the loop's
    thread with the path that a damaged database was moved to, before entering returns. Every method
    raises StorageError (DiskFull where that is the reason); a damaged file met later than at the start
    is rebuilt at the next start.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_rebuilt: Callable[[Path], None],
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        self._path = path
        self._on_rebuilt = on_rebuilt
        self._migrations = tuple(migrations)
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        try:
            moved_to = await self._call(self._open)
        except BaseException:
            self._shut_down()
            raise
        if moved_to is not None:
            self._on_rebuilt(moved_to)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._call(self._close)
        finally:
            self._shut_down()

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Runs one statement in a transaction of its own; returns the number of changed rows."""
        return await self._call(lambda connection: connection.execute(sql, parameters).rowcount)

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The rows that a query gives."""
        return await self._call(lambda connection: connection.execute(sql, parameters).fetchall())

    async def transaction(self, statements: Sequence[tuple[str, Parameters]]) -> None:
        """Runs all statements, or none of them."""
        await self._call(lambda connection: _all_or_none(connection, statements))

    def _open(self, _: None = None) -> Path | None:
        try:
            self._connection = open_connection(self._path, self._migrations)
        except Damaged as damage:
            log.warning("The database %s is damaged (%s); making a new one.", self._path, damage)
            moved_to = set_aside(self._path)
            self._connection = open_connection(self._path, self._migrations)
            return moved_to
        return None

    def _close(self, _: None = None) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _call(self, action: Callable[..., T]) -> T:
        if self._executor is None:
            raise StorageError(f"The database {self._path} is not open.")
        return await asyncio.wrap_future(self._executor.submit(self._guarded, action))

    def _guarded(self, action: Callable[..., T]) -> T:
        try:
            return action(self._connection)
        except sqlite3.Error as error:
            raise sentence(error, self._path) from error

    def _shut_down(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None


def _all_or_none(connection: sqlite3.Connection, statements: Sequence[tuple[str, Parameters]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, parameters in statements:
            connection.execute(sql, parameters)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
