"""The network of a node, as the node owns it, on loopback."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.core.config.settings import NetworkSettings
from app.core.kernel.events import EventBus
from app.core.storage.database import Database
from app.core.swarm.peers import Peers, network_options

HERE: dict[str, Any] = {"enabled": True, "listen_address": "127.0.0.1", "enable_mdns": False}


class Told:
    """What the node around it is told."""

    def __init__(self) -> None:
        self.up: list[bool] = []
        self.warnings: list[str] = []


def raise_it(error: Exception) -> None:
    raise error


def unstarted(told: Told, database: Any = None, *, port: int = 0, **settings: Any) -> Peers:
    """Off without settings; needs a database only once it is started."""
    return Peers(
        options=network_options(NetworkSettings(**settings), port=port),
        seed=os.urandom(32),
        database=database,
        bus=EventBus(raise_it),
        software="swarmllm/test",
        changed=told.up.append,
        warn=told.warnings.append,
    )


@asynccontextmanager
async def started(folder: Path, told: Told, *, port: int = 0, **settings: Any) -> AsyncIterator[Peers]:
    """Peers with a real database in `folder`, ended behind the block."""
    async with Database(folder / f"{os.urandom(4).hex()}.db", on_rebuilt=lambda _path: None) as database:
        peers = unstarted(told, database, port=port, **settings)
        peers.start()
        try:
            yield peers
        finally:
            await peers.stop()
