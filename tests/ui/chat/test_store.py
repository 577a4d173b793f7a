"""Chats on disk."""

import asyncio
import logging
import os
from pathlib import Path

import msgspec
import pytest

from app.ui.chat.model import Chat, Turn
from app.ui.chat.store import ChatStore


def chat(number: int = 1, **fields: object) -> Chat:
    made = Chat(id=f"{number:08x}", created=1.0, updated=float(number), title="T")
    return msgspec.structs.replace(made, **fields)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_is_saved_is_loaded_newest_first(tmp_path: Path) -> None:
    store = ChatStore(tmp_path / "chats")
    assert await store.load() == []
    first = chat(
        1, turns=[Turn(role="user", text="\N{HONEYBEE}"), Turn(role="assistant", text="x", tokens=3)]
    )
    await store.save(first)
    await store.save(chat(2))
    assert await store.load() == [chat(2), first]
    await store.delete("00000001")
    await store.delete("00000001")
    assert await store.load() == [chat(2)]


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
async def test_only_the_user_can_read_chats(tmp_path: Path) -> None:
    await ChatStore(tmp_path / "chats").save(chat())
    (file,) = (tmp_path / "chats").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "chats").stat().st_mode & 0o077 == 0


async def test_concurrent_saves_leave_the_last_one_and_no_rubbish(tmp_path: Path) -> None:
    store = ChatStore(tmp_path)
    await asyncio.gather(*(store.save(chat(1, title=f"title {number}")) for number in range(20)))
    assert [found.title for found in await store.load()] == ["title 19"]
    assert names(tmp_path) == ["00000001.json"]


OTHER_ID = b'{"id":"0000000a","created":0,"updated":0}'


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 5}', OTHER_ID])
async def test_a_damaged_file_is_kept_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = ChatStore(tmp_path)
    await store.save(chat(1))
    (tmp_path / "0000000b.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert await store.load() == [chat(1)]
    assert (tmp_path / "0000000b.json.damaged").read_bytes() == content
    assert "0000000b.json.damaged" in caplog.text


async def test_a_chat_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = ChatStore(tmp_path)
    await store.save(chat(1, version=99))
    assert await store.load() == []
    assert names(tmp_path) == ["00000001.json"]


async def test_a_failed_write_leaves_the_old_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ChatStore(tmp_path)
    await store.save(chat(1))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await store.save(chat(1, title="new"))
    assert names(tmp_path) == ["00000001.json"]
    assert (await store.load())[0].title == "T"


async def test_an_id_cannot_name_another_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a chat's id"):
        await ChatStore(tmp_path).delete("../../etc/passwd")
