"""`swarmllm models list | add FILE | remove MODEL | load MODEL | unload MODEL`, and `hub`, `store`"""

import argparse

import msgspec

from app.cli import exits
from app.cli.commands import hub, store
from app.cli.commands.calls import call
from app.cli.host import CommandError, Host
from app.cli.parser import flags_of
from app.cli.terminal import Progress, harmless, say, say_json, table
from app.cli.units import human_bytes
from app.client.client import Client
from app.client.types import StoredModel

_HEAD = ("MODEL", "NAME", "ARCHITECTURE", "QUANTIZATION", "SIZE", "CONTEXT", "STATE")


def run(arguments: argparse.Namespace, host: Host) -> int:
    own = {"list": _list, "add": _add, "remove": _remove, "load": _load, "unload": _unload}
    return {**own, **hub.ACTIONS, **store.ACTIONS}[arguments.action](arguments, host)


def _list(arguments: argparse.Namespace, host: Host) -> int:
    models = call(host, flags_of(arguments), lambda client: client.library())
    if arguments.json:
        say_json(msgspec.to_builtins(models))
    elif models:
        say(table(_HEAD, [_row(model) for model in models]))
    else:
        say("No models. Find one with `swarmllm models search`, or add a file with `models add`.")
    return exits.OK


def _row(model: StoredModel) -> tuple[str, ...]:
    state = "loaded" if model.loaded else "on disk" if model.complete else "incomplete"
    return (
        model.id,
        model.name,
        model.architecture,
        model.quantization,
        human_bytes(model.size_bytes),
        str(model.context_length),
        state,
    )


def _add(arguments: argparse.Namespace, host: Host) -> int:
    file = arguments.file.expanduser().absolute()
    if not file.is_file():
        raise CommandError(f"There is no file {file}.", exits.FAILURE)

    async def add(client: Client) -> StoredModel:
        with Progress(f"Adding {file.name}") as progress:
            return await client.add_model(file, name=arguments.name, progress=progress.update)

    return _report(arguments, call(host, flags_of(arguments), add))


def _report(arguments: argparse.Namespace, model: StoredModel) -> int:
    if arguments.json:
        say_json(msgspec.to_builtins(model))
    else:
        say(harmless(f"Added {model.id} ({human_bytes(model.size_bytes)})."))
    return exits.OK


def _remove(arguments: argparse.Namespace, host: Host) -> int:
    call(host, flags_of(arguments), lambda client: client.remove_model(arguments.name))
    return _done(arguments, "removed")


def _load(arguments: argparse.Namespace, host: Host) -> int:
    call(host, flags_of(arguments), lambda client: client.load_model(arguments.name))
    return _done(arguments, "loaded")


def _unload(arguments: argparse.Namespace, host: Host) -> int:
    call(host, flags_of(arguments), lambda client: client.unload_model(arguments.name))
    return _done(arguments, "unloaded")


def _done(arguments: argparse.Namespace, what: str) -> int:
    if arguments.json:
        say_json({what: arguments.name})
    else:
        say(f"{what.capitalize()} {arguments.name}.")
    return exits.OK
