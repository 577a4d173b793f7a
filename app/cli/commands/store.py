"""`swarmllm models verify [MODEL] | import [SOURCE] | shards [MODEL]`"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import CommandError, Host
from app.cli.parser import flags_of
from app.cli.terminal import Progress, harmless, note, say, say_json, table
from app.cli.units import human_bytes
from app.client.client import Client
from app.client.store import Importable, Storage, Taken
from app.client.types import StoredModel, StoredShard

_IMPORTABLE: Final = ("PROGRAM", "NAME", "SIZE", "PATH")
_SHARDS: Final = ("SHARD", "KIND", "LAYERS", "SIZE", "STATE", "LOCKED")
_STORAGE: Final = ("MODEL", "ON DISK", "OF", "IN MEMORY", "SHARDS", "LOCKED")


def _verify(arguments: argparse.Namespace, host: Host) -> int:
    async def verify(client: Client) -> list[StoredModel]:
        names = [arguments.name] if arguments.name else [model.id for model in await client.library()]
        return [await _verified(client, name) for name in names]

    models = call(host, flags_of(arguments), verify)
    if arguments.json:
        say_json(msgspec.to_builtins(models))
    for model in () if arguments.json else models:
        say(harmless(_verdict(model)))
    sound = not any(shard.problem for model in models for shard in model.shards)
    return exits.OK if sound else exits.FAILURE


async def _verified(client: Client, name: str) -> StoredModel:
    with Progress(f"Verifying {harmless(name)}") as progress:
        return await client.store.verify(name, progress=progress.update)


def _verdict(model: StoredModel) -> str:
    wrong = [f"  shard {shard.index}: {shard.problem}" for shard in model.shards if shard.problem]
    here = sum(shard.state == "present" for shard in model.shards)
    head = f"{model.id}: {here} of {len(model.shards)} shards are here and sound."
    return "\n".join([head, *wrong])


def _import(arguments: argparse.Namespace, host: Host) -> int:
    if arguments.source is None:
        return _importable(arguments, host)

    async def take(client: Client) -> StoredModel:
        found = _chosen(await client.store.importable(), arguments.source)
        with Progress(f"Importing {harmless(found.name)}") as progress:
            return await client.store.take(found.path, name=arguments.name, progress=progress.update)

    model = call(host, flags_of(arguments), take)
    if arguments.json:
        say_json(msgspec.to_builtins(model))
    else:
        say(harmless(f"Imported {model.id} ({human_bytes(model.size_bytes)})."))
    return exits.OK


def _importable(arguments: argparse.Namespace, host: Host) -> int:
    found = call(host, flags_of(arguments), lambda client: client.store.importable())
    if arguments.json:
        say_json(msgspec.to_builtins(found))
    elif found:
        rows = [(each.program, each.name, human_bytes(each.size_bytes), each.path) for each in found]
        say(table(_IMPORTABLE, rows))
    else:
        say("Neither Ollama nor LM Studio nor the Hugging Face cache holds a model here.")
    return exits.OK


def _chosen(found: tuple[Importable, ...], source: str) -> Importable:
    """The one with this path, or the only one with this name."""
    by_path = [each for each in found if each.path == source]
    named = by_path or [each for each in found if each.name.lower() == source.lower()]
    if len(named) == 1:
        return named[0]
    if named:
        paths = ", ".join(each.path for each in named)
        raise CommandError(harmless(f"{source} is the name of several; give a path: {paths}."), exits.FAILURE)
    raise CommandError(
        harmless(f"No other program holds {source}; `swarmllm models import` lists what they do."),
        exits.FAILURE,
    )


def _shards(arguments: argparse.Namespace, host: Host) -> int:
    if arguments.name is None:
        return _storage(arguments, host)

    async def change(client: Client) -> StoredModel:
        # The node knows what a beginning of a name stands for.
        model_id = (await client.store.status(arguments.name)).model_id
        await _change(client, arguments, model_id)
        return next(model for model in await client.library() if model.id == model_id)

    model = call(host, flags_of(arguments), change)
    if arguments.json:
        say_json(msgspec.to_builtins(model.shards))
        return exits.OK
    say(table(_SHARDS, [_shard_row(shard) for shard in model.shards]))
    for shard in model.shards:
        if shard.problem:
            note(harmless(f"Shard {shard.index}: {shard.problem}"))
    return exits.OK


async def _change(client: Client, arguments: argparse.Namespace, model_id: str) -> None:
    for shard in arguments.lock or ():
        await client.store.lock(model_id, shard)
    for shard in arguments.unlock or ():
        await client.store.lock(model_id, shard, locked=False)
    for shard in arguments.remove or ():
        # What is deleted has to be named in full, by the person.
        await client.store.remove_shard(arguments.name, shard)


def _shard_row(shard: StoredShard) -> tuple[str, ...]:
    layers = f"{shard.first_layer}-{shard.last_layer - 1}" if shard.kind == "layers" else ""
    size = human_bytes(shard.size_bytes)
    return (str(shard.index), shard.kind, layers, size, shard.state, "locked" if shard.locked else "")


def _storage(arguments: argparse.Namespace, host: Host) -> int:
    if arguments.lock or arguments.unlock or arguments.remove:
        raise CommandError("Name the model whose shards you mean.", exits.USAGE)
    storage = call(host, flags_of(arguments), lambda client: client.store.storage())
    if arguments.json:
        say_json(msgspec.to_builtins(storage))
        return exits.OK
    if storage.models:
        say(table(_STORAGE, [_taken_row(taken) for taken in storage.models]))
    note(_summary(storage))
    return exits.OK


def _taken_row(taken: Taken) -> tuple[str, ...]:
    here = taken.shards.present + taken.shards.suspect
    return (
        taken.model_id,
        human_bytes(taken.held_bytes),
        human_bytes(taken.size_bytes),
        human_bytes(taken.memory_bytes) if taken.memory_bytes else "",
        f"{here} of {taken.shards.total}",
        str(len(taken.locked) or ""),
    )


def _summary(storage: Storage) -> str:
    allowed = f" of {human_bytes(storage.budget_bytes)} allowed" if storage.budget_bytes else ""
    used, free = human_bytes(storage.used_bytes), human_bytes(storage.free_bytes)
    return f"Models take {used}{allowed}; {free} of the disk are free."


ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Host], int]]] = {
    "verify": _verify,
    "import": _import,
    "shards": _shards,
}
