"""`swarmllm stop`"""

import argparse

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import say


def run(arguments: argparse.Namespace, host: Host) -> int:
    call(host, flags_of(arguments), lambda client: client.shutdown())
    say("The node is stopping.")
    return exits.OK
