"""A download as it is remembered across restarts, and as the rest of the node sees it."""

from pathlib import Path
from typing import Final, Literal

import msgspec
from blake3 import blake3

from app.core.models.disk import write_atomically
from app.core.models.hub.answers import HubFile

RECORD_NAME: Final = "download.json"
MAX_RECORD: Final = 8 << 20

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
ACTIVE: Final = frozenset({"queued", "running", "paused", "failed"})


class Record(msgspec.Struct, kw_only=True):
    """`shards` are the indexes wanted; `whole` says that they are all.

    `heads` are the BLAKE3 of what stands before each file's tensors.
    """

    id: str
    name: str
    files: tuple[HubFile, ...]
    shard_size: int
    shards: tuple[int, ...]
    whole: bool
    total_bytes: int
    done_bytes: int = 0
    created: int
    heads: tuple[str, ...]
    state: State = "queued"
    problem: str = ""
    model_id: str = ""


class ShardProgress(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    size_bytes: int
    done_bytes: int


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A download as people see it. `seconds_left` is None while nobody can tell."""

    id: str
    name: str
    repo: str
    commit: str
    filename: str
    state: State
    phase: str
    problem: str
    model_id: str
    created: int
    total_bytes: int
    done_bytes: int
    bytes_per_second: float
    seconds_left: float | None
    shards: tuple[ShardProgress, ...]


_decoder = msgspec.json.Decoder(Record)


def load_record(folder: Path) -> Record | None:
    """The record in `folder`; None if there is none or it is damaged."""
    try:
        path = folder / RECORD_NAME
        if path.stat().st_size > MAX_RECORD:
            return None
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def save_record(folder: Path, record: Record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECORD_NAME, msgspec.json.encode(record))


def save_heads(folder: Path, heads: tuple[bytes, ...]) -> tuple[str, ...]:
    """Keeps the files' beginnings; returns their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, head in enumerate(heads):
        write_atomically(folder / f"head-{number}", head)
    return tuple(blake3(head).hexdigest() for head in heads)


def load_heads(folder: Path, hashes: tuple[str, ...]) -> tuple[bytes, ...] | None:
    """The files' beginnings as they were kept; None unless all are there and sound."""
    try:
        heads = tuple((folder / f"head-{number}").read_bytes() for number in range(len(hashes)))
    except OSError:
        return None
    return heads if tuple(blake3(head).hexdigest() for head in heads) == hashes else None
