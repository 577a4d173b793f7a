"""Runs one command and turns expected failures into one line and an exit code."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper

from app.cli import exits
from app.cli.host import CommandError, Host
from app.cli.parser import flags_of, parse
from app.cli.terminal import fail, note, say, say_json

# Commands that need the client, which takes half a second to import: only what is asked for is loaded.
_CLIENT_COMMANDS = {
    **{name: name for name in ("status", "chat", "bench", "models", "plan", "stop")},
    **dict.fromkeys(("peers", "invite", "join"), "network"),
}

Command = Callable[[argparse.Namespace, Host], int]


def run(argv: Sequence[str], *, host: Host) -> int:
    """Carries out the command line `argv` (without the program's name); returns the exit code."""
    _tolerate_any_text()
    try:
        arguments = parse(list(argv))
    except SystemExit as asked:
        return asked.code if isinstance(asked.code, int) else exits.USAGE
    try:
        return _command(arguments.command)(arguments, host)
    except CommandError as error:
        fail(error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; flushing at exit would only fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILURE


def _tolerate_any_text() -> None:
    """A terminal whose encoding lacks a sign, as on older Windows, gets a substitute and not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _command(name: str) -> Command:
    if name in _CLIENT_COMMANDS:
        command: Command = import_module(f"app.cli.commands.{_CLIENT_COMMANDS[name]}").run
        return command
    return {"": _run, "run": _run, "config": _config, "key": _key, "version": _version}[name]


def _run(arguments: argparse.Namespace, host: Host) -> int:
    headless = getattr(arguments, "headless", False)
    if not headless and not host.has_display():
        note("There is no display here, so no window opens (`--headless` asks for none).")
        headless = True
    return host.run(flags_of(arguments), headless=headless)


def _config(arguments: argparse.Namespace, host: Host) -> int:
    report = host.config(flags_of(arguments))
    if arguments.json:
        options = {
            row.key: {"value": row.value, "source": row.source, "description": row.description}
            for row in report.rows
        }
        say_json({"config_file": str(report.file) if report.file else None, "options": options})
        return exits.OK
    width = max(len(row.key) for row in report.rows)
    values = max(len(row.value) for row in report.rows)
    for row in report.rows:
        say(f"{row.key:<{width}}  {row.value:<{values}}  {row.source}")
    note(f"Configuration file: {report.file or 'none'}")
    return exits.OK


def _key(arguments: argparse.Namespace, host: Host) -> int:
    say(host.api_key(flags_of(arguments)))
    return exits.OK


def _version(arguments: argparse.Namespace, host: Host) -> int:
    if arguments.json:
        say_json({"version": host.version()})
    else:
        say(f"swarmllm {host.version()}")
    return exits.OK
