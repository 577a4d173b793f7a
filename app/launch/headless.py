"""Runs a node in the terminal until it is told to stop."""

import asyncio
import sys
from collections.abc import Mapping

from app.cli import exits
from app.core.config.load import LoadedSettings
from app.core.node import Node
from app.launch.logging_setup import logging_to
from app.launch.parts import make_node
from app.launch.signals import stopping_on_signals

_KEPT_IN = {
    "keychain": "in this user's keychain",
    "vault": "in the encrypted vault",
    "file": "in unencrypted files of the data directory",
}


def run_headless(loaded: LoadedSettings, environ: Mapping[str, str]) -> int:
    """Returns the exit code when the node has stopped in order. Raises SwarmError if it cannot start."""
    with logging_to(loaded.settings.logging):
        return asyncio.run(_serve(loaded, environ))


async def _serve(loaded: LoadedSettings, environ: Mapping[str, str]) -> int:
    serving = asyncio.current_task()
    assert serving is not None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        serving.cancel()

    with stopping_on_signals(stop):
        try:
            async with make_node(loaded, environ) as node:
                _say(summary(node, loaded))
                await node.run()
        except asyncio.CancelledError:
            if not stopped:
                raise
    return exits.OK


def summary(node: Node, loaded: LoadedSettings) -> str:
    """What a person who started the node wants to know."""
    settings = loaded.settings
    key = "set by " + loaded.sources["api.api_key"] if settings.api.api_key else "`swarmllm key` prints it"
    return "\n".join(
        (
            "The node is running. Ctrl-C stops it.",
            f"  API        {node.url}/v1",
            f"  API key    {key}",
            f"  Data       {settings.node.data_dir}",
            f"  Keys       {_KEPT_IN[node.secrets_backend]}",
        )
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
