"""The data directory: who may use it, and what is said when nobody can."""

import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.core.kernel.errors import StorageError
from app.core.storage.data_dir import DataDir
from app.core.storage.files import read_private, write_private
from tests.support.storage_disk import run_on_disk

needs_mounts = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux"
)


def test_it_is_made_for_its_user_only_with_its_parents(tmp_path: Path) -> None:
    with DataDir(tmp_path / "a" / "b") as data:
        assert data.path.stat().st_mode & 0o777 == 0o700
        assert data.models.parent == data.database.parent == data.runtime.parent == data.path


def test_it_can_be_used_again_after_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        with DataDir(tmp_path / "data"):
            pass


def test_a_second_node_is_told_which_process_holds_it(tmp_path: Path) -> None:
    with DataDir(tmp_path / "data"), pytest.raises(StorageError) as caught, DataDir(tmp_path / "data"):
        pass
    assert f"in use by another node (process {os.getpid()})" in str(caught.value)
    with DataDir(tmp_path / "data"):
        pass


def test_the_lock_of_a_killed_node_is_free(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from app.core.storage.data_dir import DataDir
        with DataDir(Path(sys.argv[1])):
            print("held", flush=True)
            time.sleep(60)
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=rf"process {holder.pid}"), DataDir(tmp_path / "data"):
            pass
        holder.kill()
    with DataDir(tmp_path / "data"):
        pass


def test_a_folder_open_to_others_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    with caplog.at_level(logging.WARNING), DataDir(folder):
        pass
    assert "Other users of this computer can look into" in caplog.text
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_file_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a folder"), DataDir(tmp_path / "data"):
        pass


OPEN = """
import sys
from pathlib import Path
from app.core.kernel.errors import SwarmError
from app.core.storage.data_dir import DataDir
try:
    with DataDir(Path(sys.argv[1])):
        pass
except SwarmError as error:
    print(error.code, error.message)
"""


@needs_mounts
def test_a_read_only_folder_is_a_clear_error(tmp_path: Path) -> None:
    done = run_on_disk(tmp_path, "size=1m,mode=700,ro", OPEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("storage_error ")
    assert "ead-only file system" in done.stdout or "cannot be written" in done.stdout


@needs_mounts
def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    fill = "import sys; from pathlib import Path\n"
    fill += "try: (Path(sys.argv[1]) / 'big').write_bytes(bytes(1 << 20))\nexcept OSError: pass\n"
    done = run_on_disk(tmp_path, "size=64k,mode=700", fill + OPEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("disk_full ")
    assert "no space left" in done.stdout


FILL_DATABASE = """
import asyncio, sys
from pathlib import Path
from app.core.kernel.errors import DiskFull
from app.core.storage.database import Database

async def main():
    path = Path(sys.argv[1]) / "db.sqlite3"
    written = 0
    async with Database(path, on_rebuilt=lambda moved: print("rebuilt")) as database:
        try:
            for number in range(1000):
                await database.execute("INSERT INTO meta VALUES (?, ?)", (str(number), "z" * 5000))
                written += 1
        except DiskFull as error:
            print("full", "no space left" in error.message)
        print((await database.fetch("SELECT count(*) FROM meta"))[0][0] == written)

asyncio.run(main())
"""


@needs_mounts
def test_a_disk_that_fills_up_costs_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    done = run_on_disk(tmp_path, "size=600k,mode=700", FILL_DATABASE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["full", "True", "True"]


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    assert read_private(file, limit=10) is None
    write_private(file, b"one")
    write_private(file, b"two")
    assert read_private(file, limit=3) == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_private_files_are_bounded_and_their_errors_clear(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", b"12345")
    with pytest.raises(StorageError, match="larger than the 4 bytes"):
        read_private(tmp_path / "secret", limit=4)
    with pytest.raises(StorageError, match="could not be written: no such file or directory"):
        write_private(tmp_path / "missing" / "secret", b"1")
