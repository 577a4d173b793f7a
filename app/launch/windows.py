"""Runs the windowed app: with a node of its own, or attached to the one that already runs."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from app.client import Client, ClientError, Runtime, find_node
from app.core.config.load import LoadedSettings
from app.core.node import Node
from app.launch.api_key import known_api_key
from app.launch.logging_setup import logging_to
from app.launch.parts import make_node
from app.ui.application import run_app
from app.ui.backend import Connection

log = logging.getLogger(__name__)


def run_windows(loaded: LoadedSettings, environ: Mapping[str, str]) -> int:
    """Returns the exit code when the user has quit. Raises ConfigError if the log cannot be opened."""
    settings = loaded.settings
    with logging_to(settings.logging):
        return run_app(
            lambda: _node(loaded, environ), theme=settings.ui.theme, chats=settings.node.data_dir / "chats"
        )


@asynccontextmanager
async def _node(loaded: LoadedSettings, environ: Mapping[str, str]) -> AsyncIterator[Connection]:
    running = await _running_node(loaded)
    if running is not None:
        log.info("Attaching to the node that runs at %s.", running.url)
        yield await _connection(running.url, running.token, loaded, environ)
        return
    async with make_node(loaded, environ) as node:
        watching = asyncio.create_task(_leave_with(node), name="leave with the node")
        try:
            yield await _connection(node.url, node.session_token, loaded, environ)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


async def _running_node(loaded: LoadedSettings) -> Runtime | None:
    runtime = find_node(loaded.settings.node.data_dir)
    if runtime is None:
        return None
    try:
        async with Client(runtime.url, runtime.token) as client:
            await client.status()
    except ClientError:
        return None
    return runtime


async def _connection(url: str, token: str, loaded: LoadedSettings, environ: Mapping[str, str]) -> Connection:
    return Connection(url=url, token=token, api_key=await known_api_key(loaded, environ) or "")


async def _leave_with(node: Node) -> None:
    """A node that was asked to stop through its API takes the windows with it."""
    await node.run()
    signal.raise_signal(signal.SIGTERM)
