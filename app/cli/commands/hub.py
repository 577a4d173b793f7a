"""`swarmllm models search | probe | download | downloads | pause | resume | cancel | token`"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import CommandError, Host
from app.cli.parser import flags_of
from app.cli.terminal import Progress, harmless, note, say, say_json, table
from app.cli.units import human_bytes, human_seconds
from app.client.client import Client
from app.client.hub import Download, HubModel, HubProbe

POLL_SECONDS: Final = 0.5
_HEAD: Final = ("ID", "MODEL", "STATE", "DONE", "SIZE", "SPEED", "LEFT")


def _search(arguments: argparse.Namespace, host: Host) -> int:
    query = " ".join(arguments.query)

    async def search(client: Client) -> tuple[HubModel, ...]:
        return await client.hub.search(query, limit=arguments.limit, trending=not query)

    found = call(host, flags_of(arguments), search)
    if arguments.json:
        say_json(msgspec.to_builtins(found))
    elif not found:
        say("Nothing found.")
    for model in () if arguments.json else found:
        say(_described(model))
    return exits.OK


def _described(model: HubModel) -> str:
    facts = [f"{model.downloads:,} downloads", model.license or "licence unknown"]
    facts += ["gated"] * model.gated
    lines = [f"{model.repo_id}  ({', '.join(facts)})"]
    for variant in model.variants:
        advice = ""
        if variant.filename == model.recommended_filename:
            advice = "recommended" if model.fits_memory else "smallest, but too large for this node"
        size = human_bytes(variant.size_bytes)
        lines.append(f"  {size:>9}  {variant.quant:<12} {variant.filename}  {advice}".rstrip())
    return "\n".join(map(harmless, lines))


def _probe(arguments: argparse.Namespace, host: Host) -> int:
    async def probe(client: Client) -> HubProbe:
        file = await _file(client, arguments)
        return await client.hub.probe(arguments.repo, file, revision=arguments.revision)

    found = call(host, flags_of(arguments), probe)
    if arguments.json:
        say_json(msgspec.to_builtins(found))
        return exits.OK
    layers = [shard for shard in found.shards if shard.kind == "layers"]
    rows = {
        "Model": f"{found.name} ({found.architecture}, {found.quantization})",
        "File": f"{found.filename}, {human_bytes(found.size_bytes)}",
        "Licence": found.license or "not stated",
        "Layers": f"{found.n_layers} in {len(layers)} of {len(found.shards)} shards",
        "Context": f"{found.context_length} tokens at most",
        "Memory": found.memory.verdict,
        "Slices": f"whole only: {found.whole_only}" if found.whole_only else "may be divided among nodes",
    }
    for name, text in rows.items():
        say(harmless(f"{name:<9} {text}"))
    for term in found.memory.terms:
        say(harmless(f"          {human_bytes(term.size):>9}  {term.name}: {term.arithmetic}"))
    return exits.OK


def _download(arguments: argparse.Namespace, host: Host) -> int:
    async def download(client: Client) -> Download:
        file = await _file(client, arguments)
        started = await client.hub.download(
            arguments.repo,
            file,
            revision=arguments.revision,
            shards=arguments.shards,
            fair_share=arguments.fair_share,
        )
        if arguments.no_wait:
            return started
        return await _watched(client, started)

    done = call(host, flags_of(arguments), download)
    if done.state == "failed":
        raise CommandError(harmless(done.problem), exits.FAILURE)
    if arguments.json:
        say_json(msgspec.to_builtins(done))
    elif done.state == "done":
        say(harmless(f"Downloaded {done.model_id} ({human_bytes(done.total_bytes)})."))
    else:
        say(harmless(f"The download {done.id} of {done.name} is {done.state}."))
    return exits.OK


async def _file(client: Client, arguments: argparse.Namespace) -> str:
    """The file that was named, else the variant that suits this node."""
    if arguments.file is not None:
        return str(arguments.file)
    found = await client.hub.repository(arguments.repo)
    if not found.recommended_filename:
        raise CommandError(f"There are no GGUF models in {harmless(arguments.repo)}.", exits.FAILURE)
    note(harmless(f"Taking {found.recommended_filename}."))
    return found.recommended_filename


async def _watched(client: Client, download: Download) -> Download:
    """The download when it has ended. Interrupting the command leaves it to the node."""
    with Progress(f"Downloading {harmless(download.name)}") as progress:
        try:
            while download.going_on:
                progress.update(download.done_bytes / max(1, download.total_bytes), _detail(download))
                await asyncio.sleep(POLL_SECONDS)
                listed = {each.id: each for each in await client.hub.downloads()}
                download = listed.get(download.id) or msgspec.structs.replace(download, state="cancelled")
        except asyncio.CancelledError:
            note(f"The node goes on with the download {download.id}; `swarmllm models cancel` ends it.")
            raise
    return download


def _detail(download: Download) -> str:
    if not download.bytes_per_second:
        return download.phase
    left = "" if download.seconds_left is None else f", {human_seconds(download.seconds_left)} left"
    return f"{human_bytes(download.bytes_per_second)}/s{left}"


def _downloads(arguments: argparse.Namespace, host: Host) -> int:
    async def downloads(client: Client) -> tuple[Download, ...]:
        return await client.hub.downloads()

    found = call(host, flags_of(arguments), downloads)
    if arguments.json:
        say_json(msgspec.to_builtins(found))
    elif found:
        say(table(_HEAD, [_row(download) for download in found]))
        for download in found:
            if download.problem:
                say(harmless(f"{download.id}: {download.problem}"))
    else:
        say("No downloads.")
    return exits.OK


def _row(download: Download) -> tuple[str, ...]:
    left = download.seconds_left
    return (
        download.id,
        download.name,
        download.state,
        f"{download.done_bytes / max(1, download.total_bytes):.0%}",
        human_bytes(download.total_bytes),
        f"{human_bytes(download.bytes_per_second)}/s" if download.bytes_per_second else "",
        "" if left is None else human_seconds(left),
    )


def _pause(arguments: argparse.Namespace, host: Host) -> int:
    return _changed(arguments, host, lambda client: client.hub.pause(arguments.download))


def _resume(arguments: argparse.Namespace, host: Host) -> int:
    return _changed(arguments, host, lambda client: client.hub.resume(arguments.download))


def _cancel(arguments: argparse.Namespace, host: Host) -> int:
    return _changed(arguments, host, lambda client: client.hub.cancel(arguments.download))


def _changed(
    arguments: argparse.Namespace, host: Host, action: Callable[[Client], Awaitable[Download]]
) -> int:
    download = call(host, flags_of(arguments), action)
    if arguments.json:
        say_json(msgspec.to_builtins(download))
    else:
        say(harmless(f"The download of {download.name} is {download.state}."))
    return exits.OK


def _token(arguments: argparse.Namespace, host: Host) -> int:
    """The token never stands among the arguments, which other users of the machine could read."""
    token = None
    if not arguments.forget:
        asked = getpass.getpass("Hugging Face token: ") if sys.stdin.isatty() else sys.stdin.readline()
        token = asked.strip()
    call(host, flags_of(arguments), lambda client: client.hub.keep_token(token))
    outcome = "forgotten" if arguments.forget else "kept"
    if arguments.json:
        say_json({"token": outcome})
    else:
        say(f"The token is {outcome}.")
    return exits.OK


ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Host], int]]] = {
    "search": _search,
    "probe": _probe,
    "download": _download,
    "downloads": _downloads,
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "token": _token,
}
