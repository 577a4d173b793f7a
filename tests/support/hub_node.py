"""Hubs of a node, opened on the tests' own server, and waiting for their downloads.

`python -m tests.support.hub_node URL ROOT` downloads the test's model in a process that can be killed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.core.kernel.events import DownloadChanged, EventBus
from app.core.models.hub.failures import Patience
from app.core.models.hub.hub import Hub, HubOptions
from app.core.models.hub.probe import Running
from app.core.models.hub.record import Download
from app.core.models.library import Library
from tests.support.gguf_library import reraise

REPO = "owner/tiny-gguf"
FILE = "tiny.F16.gguf"
PIECE = 256 << 10


class Keychain:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self.kept.get(name)

    async def set(self, name: str, value: str) -> None:
        self.kept[name] = value

    async def delete(self, name: str) -> None:
        self.kept.pop(name, None)


@asynccontextmanager
async def hub_at(
    root: Path,
    url: str,
    *,
    token: str | None = None,
    token_source: Callable[[], Awaitable[str | None]] | None = None,
    max_disk_mb: int = 0,
    silence: float = 5.0,
    patience: Patience | None = None,
    nodes: int = 1,
    memory: int = 8 << 30,
    bus: EventBus | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Hub, Library]]:
    """A library at `root` with a hub whose pieces are small and whose patience is short."""

    async def give_token() -> str | None:
        return token

    bus = bus or EventBus(reraise)
    given = {"piece_bytes": PIECE, "shard_size_mb": 64, **options}
    async with (
        Library(root=root, bus=bus, shard_size_mb=64, max_disk_mb=max_disk_mb) as library,
        Hub(
            root=root,
            library=library,
            bus=bus,
            options=HubOptions(endpoint=url, **given),
            token=token_source or give_token,
            running=lambda: Running(memory=memory, context=512, slots=2),
            node_id="ab" * 32,
            nodes=lambda: nodes,
            patience=patience or Patience(base=0.01),
            silence=silence,
        ) as hub,
    ):
        yield hub, library


async def ended(hub: Hub, download: Download) -> Download:
    """The download as soon as it is done, failed or paused."""
    while True:
        current = hub.downloads.find(download.id)
        if current.state not in {"queued", "running"} and not current.phase:
            return current
        await asyncio.sleep(0.01)


async def until_bytes(hub: Hub, download: Download, count: int) -> None:
    """Returns when `count` bytes of the download are on the disk."""
    while hub.downloads.find(download.id).done_bytes < count:  # noqa: ASYNC110 - the bus tells of it twice a second only
        await asyncio.sleep(0.005)


def noted(bus: EventBus) -> list[DownloadChanged]:
    """Every event of downloads, as it comes."""
    seen: list[DownloadChanged] = []
    bus.subscribe(DownloadChanged, seen.append)
    return seen


async def main(url: str, root: str) -> None:
    async with hub_at(Path(root), url) as (hub, _):
        print("ready", flush=True)  # noqa: T201
        download = next(iter(hub.downloads.all()), None) or await hub.download(REPO, FILE)
        print((await ended(hub, download)).state, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
