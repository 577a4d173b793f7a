"""`swarmllm status`"""

import argparse

import msgspec

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import harmless, say, say_json
from app.cli.units import human_bytes, human_seconds
from app.client.types import Status


def run(arguments: argparse.Namespace, host: Host) -> int:
    flags = flags_of(arguments)
    status = call(host, flags, lambda client: client.status())
    if arguments.json:
        say_json({"url": host.connection(flags).url, **msgspec.to_builtins(status)})
    else:
        say(described(status, host.connection(flags).url))
    return exits.OK


def described(status: Status, url: str) -> str:
    """`status` as lines for a person."""
    parts = [name for name, works in status.subsystems.items() if not works]
    lines = [
        f"Node      {'ready' if status.ready else 'starting'}, version {status.version}",
        f"API       {url}/v1",
        f"Running   {human_seconds(status.uptime_seconds)}",
        f"Node ID   {status.node_id[:16]}",
        f"Keys      {status.secrets_backend}",
        f"Peers     {'the network is off' if status.peers is None else status.peers}",
        f"Models    {', '.join(model.name or model.id for model in status.models) or 'none'}",
    ]
    lines += [f"Loaded    {loaded.model}, {human_bytes(loaded.memory_bytes)}" for loaded in status.loaded]
    lines += [f"Failing   {name}" for name in parts]
    lines += [f"Warning   {warning}" for warning in status.warnings]
    return "\n".join(map(harmless, lines))
