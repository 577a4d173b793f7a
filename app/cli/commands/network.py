"""`swarmllm peers`, `swarmllm invite` and `swarmllm join CODE`"""

import argparse
from io import StringIO

import msgspec

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import harmless, note, say, say_json, table
from app.client.network import Peer

_HEAD = ("PEER", "NODE", "ADDRESS", "DIRECTION", "ROUND TRIP", "SOFTWARE")
_SHORT = 16


def run(arguments: argparse.Namespace, host: Host) -> int:
    return {"peers": _peers, "invite": _invite, "join": _join}[arguments.command](arguments, host)


def _peers(arguments: argparse.Namespace, host: Host) -> int:
    found = call(host, flags_of(arguments), lambda client: client.network.peers())
    if arguments.json:
        say_json(msgspec.to_builtins(found))
    elif found.peers:
        say(table(_HEAD, [_row(peer) for peer in found.peers]))
    else:
        say("No peers. `swarmllm invite` prints a code with which another node can join this one.")
    return exits.OK


def _row(peer: Peer) -> tuple[str, ...]:
    trip = peer.round_trip_seconds
    return (
        peer.peer_id,
        peer.node_id[:_SHORT],
        peer.address,
        "outbound" if peer.outbound else "inbound",
        "" if trip is None else f"{trip * 1000:.1f} ms",
        peer.software,
    )


def _invite(arguments: argparse.Namespace, host: Host) -> int:
    made = call(host, flags_of(arguments), lambda client: client.network.invite())
    if arguments.json:
        say_json(msgspec.to_builtins(made))
        return exits.OK
    if arguments.qr:
        say(_drawn(made.code))
    say(made.code)
    note("On the other computer: swarmllm run --bootstrap CODE, or swarmllm join CODE where a node runs.")
    return exits.OK


def _drawn(code: str) -> str:
    """`code` as a QR code of block characters."""
    import segno  # noqa: PLC0415 - only for this

    picture = StringIO()
    segno.make(code, error="l", micro=False).terminal(out=picture, compact=True)
    return picture.getvalue().rstrip("\n")


def _join(arguments: argparse.Namespace, host: Host) -> int:
    joined = call(host, flags_of(arguments), lambda client: client.network.join(arguments.code))
    if arguments.json:
        say_json(msgspec.to_builtins(joined))
    else:
        say(f"Connected with {harmless(joined.peer_id)}.")
    return exits.OK
