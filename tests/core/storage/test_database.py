"""The database: order, atomicity, migrations, and what happens to a damaged or foreign file."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.kernel.errors import StorageError
from app.core.storage.connection import open_connection
from app.core.storage.database import Database
from app.core.storage.migrations import MIGRATIONS, Migration


def unexpected(path: Path) -> None:
    raise AssertionError(f"rebuilt: {path}")


def put(key: str, value: str) -> tuple[str, tuple[str, str]]:
    return ("INSERT INTO meta VALUES (?, ?)", (key, value))


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    async with Database(path, on_rebuilt=unexpected) as database:
        assert await database.execute(*put("a", "1")) == 1
        await database.transaction([put("b", "2"), put("c", "3")])
    async with Database(path, on_rebuilt=unexpected) as database:
        assert await database.fetch("SELECT * FROM meta ORDER BY key") == [("a", "1"), ("b", "2"), ("c", "3")]
        assert await database.fetch("PRAGMA journal_mode") == [("wal",)]
    assert path.stat().st_mode & 0o077 == 0


async def test_a_transaction_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    async with Database(tmp_path / "db.sqlite3", on_rebuilt=unexpected) as database:
        with pytest.raises(StorageError, match="UNIQUE"):
            await database.transaction([put("a", "1"), put("a", "2")])
        assert await database.fetch("SELECT * FROM meta") == []
        await database.transaction([put("a", "3")])


async def test_calls_are_carried_out_in_their_order(tmp_path: Path) -> None:
    async with Database(tmp_path / "db.sqlite3", on_rebuilt=unexpected) as database:
        await database.execute(*put("n", ""))
        calls = [
            database.execute("UPDATE meta SET value = value || ?", (digit,)) for digit in "0123456789" * 20
        ]
        await asyncio.gather(*calls)
        assert await database.fetch("SELECT value FROM meta") == [("0123456789" * 20,)]


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite3", on_rebuilt=unexpected)
    with pytest.raises(StorageError, match="not open"):
        await database.fetch("SELECT 1")


@pytest.mark.parametrize("count", range(len(MIGRATIONS)))
def test_each_migration_runs_on_a_database_of_the_version_before(tmp_path: Path, count: int) -> None:
    path = tmp_path / "db.sqlite3"
    open_connection(path, MIGRATIONS[:count]).close()
    connection = open_connection(path, MIGRATIONS[: count + 1])
    names = [name for (name,) in connection.execute("SELECT name FROM schema_migrations ORDER BY number")]
    connection.close()
    assert names == [migration.name for migration in MIGRATIONS[: count + 1]]


async def test_rows_survive_later_migrations(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    async with Database(path, on_rebuilt=unexpected) as database:
        await database.execute(*put("a", "1"))
    later = Migration(name="999-later", statements=("CREATE TABLE later (x INTEGER) STRICT",))
    async with Database(path, on_rebuilt=unexpected, migrations=(*MIGRATIONS, later)) as database:
        assert await database.fetch("SELECT value FROM meta") == [("1",)]
        assert await database.fetch("SELECT * FROM later") == []


async def test_a_failing_migration_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    bad = Migration(name="999-bad", statements=("CREATE TABLE half (x INTEGER) STRICT", "NONSENSE"))
    with pytest.raises(StorageError, match="syntax error"):
        async with Database(path, on_rebuilt=unexpected, migrations=(*MIGRATIONS, bad)):
            pass
    async with Database(path, on_rebuilt=unexpected) as database:
        assert await database.fetch("SELECT name FROM sqlite_schema WHERE name = 'half'") == []


async def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    later = Migration(name="999-later", statements=("CREATE TABLE later (x INTEGER) STRICT",))
    async with Database(path, on_rebuilt=unexpected, migrations=(*MIGRATIONS, later)):
        pass
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        async with Database(path, on_rebuilt=unexpected):
            pass
    assert path.read_bytes() == before


def filled(path: Path) -> None:
    connection = open_connection(path, MIGRATIONS)
    connection.executemany("INSERT INTO meta VALUES (?, ?)", ((str(n), "y" * 500) for n in range(200)))
    connection.close()


def overwrite(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database at all, only text" * 99),
        lambda path: overwrite(path, 0, b"\xff" * 100),
        lambda path: overwrite(path, 4096, b"\xff" * 8192),
        lambda path: path.write_bytes(path.read_bytes()[:-20000]),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
    ],
    ids=["text", "header", "pages", "cut", "cut short"],
)
async def test_a_damaged_database_is_set_aside_reported_and_rebuilt(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "db.sqlite3"
    filled(path)
    damage(path)  # type: ignore[operator]
    content = path.read_bytes()
    reported: list[Path] = []
    async with Database(path, on_rebuilt=reported.append) as database:
        assert await database.fetch("SELECT * FROM meta") == []
        await database.execute(*put("a", "1"))
    (moved_to,) = reported
    assert moved_to.name.startswith("db.sqlite3.corrupt-")
    assert moved_to.read_bytes() == content
    async with Database(path, on_rebuilt=unexpected) as database:
        assert await database.fetch("SELECT value FROM meta") == [("1",)]


async def test_a_database_held_by_another_program_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.storage.connection.BUSY_SECONDS", 0.05)
    path = tmp_path / "db.sqlite3"
    async with Database(path, on_rebuilt=unexpected) as database:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="held by another program"):
            await database.execute(*put("a", "1"))
        other.execute("ROLLBACK")
        other.close()
        await database.execute(*put("a", "1"))


async def test_a_path_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").mkdir()
    with pytest.raises(StorageError, match="could not be opened"):
        async with Database(tmp_path / "db.sqlite3", on_rebuilt=unexpected):
            pass


async def test_kill_in_mid_write_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    for writes in (1, 7, 20, 3, 40):
        acknowledged = killed_after(path, writes)
        async with Database(path, on_rebuilt=unexpected) as database:
            ((last,),) = await database.fetch("SELECT value FROM meta WHERE key = 'last'")
            for half in ("first", "second"):
                rows = await database.fetch("SELECT count(*) FROM meta WHERE key LIKE ?", (f"{half}-%",))
                assert rows == [(int(last),)]
        assert int(last) >= acknowledged


def killed_after(path: Path, writes: int) -> int:
    """Kills a writer (SIGKILL) as soon as it acknowledged `writes` transactions; returns the last number."""
    command = [sys.executable, "-m", "tests.support.storage_writer", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(writes):
            number = int(writer.stdout.readline())
        writer.kill()
        later = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    return int(later[-1]) if later else number
