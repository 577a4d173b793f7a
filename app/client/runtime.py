"""Finding the node that runs on this machine, by the file it keeps in its data folder."""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

FILE = "runtime.json"
MAX_SIZE = 64 << 10


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """A node that runs, or ran: `url` and `token` open its API."""

    pid: int
    url: str
    token: str
    version: str = ""

    def __repr__(self) -> str:
        return f"Runtime(pid={self.pid}, url={self.url!r}, version={self.version!r})"


def find_node(data_dir: Path) -> Runtime | None:
    """The node that uses `data_dir`; None where there is none, or its file is damaged.

    A node that was killed leaves its file behind: calling it then raises ClientError "not_running".
    """
    try:
        with (data_dir / FILE).open("rb") as file:
            runtime = msgspec.json.decode(file.read(MAX_SIZE), type=Runtime)
        parts = urlsplit(runtime.url)
    except (OSError, ValueError):
        return None
    usable = parts.scheme in ("http", "https") and parts.hostname and runtime.token
    return runtime if usable else None
