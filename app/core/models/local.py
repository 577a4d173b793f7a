"""What only this node knows of a model: `local.json` beside the manifest."""

from pathlib import Path
from typing import Final

import msgspec

from app.core.models.disk import write_atomically

LOCAL_NAME: Final = "local.json"
MAX_LOCAL_BYTES: Final = 16 << 20


class Local(msgspec.Struct, kw_only=True):
    """`created` in unix seconds. `modified` maps shard files to the mtime (ns) that belongs to proven data.

    `stamp` tells whether the file that a built-in or configured model came from is still
    the same. `locked` shards are never removed
    to make room. `quarantined` maps shard files to what was wrong.
    """

    created: int
    name: str = ""
    builtin: bool = False
    imported_from: str = ""
    stamp: str = ""
    modified: dict[str, int] = msgspec.field(default_factory=dict)
    locked: set[int] = msgspec.field(default_factory=set)
    quarantined: dict[str, str] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(Local)
_encoder = msgspec.json.Encoder(order="deterministic")


def load_local(folder: Path) -> Local | None:
    """The node's notes on a model; None if there are none or they are damaged."""
    try:
        path = folder / LOCAL_NAME
        if path.stat().st_size > MAX_LOCAL_BYTES:
            return None
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def save_local(folder: Path, local: Local) -> None:
    write_atomically(folder / LOCAL_NAME, _encoder.encode(local))
