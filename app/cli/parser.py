"""The command line's grammar."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.cli.host import Flags

_BENCH_PROMPT = "Explain the theory of relativity in simple terms."

# Attribute of the parsed arguments, and the option that it sets.
_OPTION_KEYS = {
    "data_dir": "node.data_dir",
    "port": "node.listen_port",
    "model": "inference.model_path",
    "gpu_layers": "inference.gpu_layers",
}


def parse(argv: list[str]) -> argparse.Namespace:
    """The parsed arguments; `command` is "" without a subcommand. Exits with code 2 on a wrong usage."""
    return _parser().parse_args(argv)


def flags_of(arguments: argparse.Namespace) -> Flags:
    """The options that were given on the command line."""
    given = {key: getattr(arguments, name, None) for name, key in _OPTION_KEYS.items()}
    values = {key: value for key, value in given.items() if value is not None}
    if hasattr(arguments, "bootstrap"):
        values["network.bootstrap_peers"] = ",".join(arguments.bootstrap)
        values["network.enabled"] = "true"
    if hasattr(arguments, "network"):
        values["network.enabled"] = "true" if arguments.network else "false"
    verbosity: int = getattr(arguments, "verbose", 0) or 0
    if verbosity:
        values["logging.level"] = "debug" if verbosity == 1 else "trace"
    return Flags(values=values, config=getattr(arguments, "config", None))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swarmllm",
        description="Run large language models on your own machine.",
        epilog="Without a command: opens the window where there is a display, else runs in the terminal. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no node running, 130 interrupted.",
    )
    parser.set_defaults(command="")
    common, running = _common(), _running()
    _add_place(parser)
    _add_running(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=list(parents))
        made.set_defaults(command=name)
        return made

    command(
        "run", "Run a node: with windows where there is a display, else in the terminal.", common, running
    )
    command("status", "Tell how the running node is.", common, _json())
    _add_chat(command("chat", "Chat with a model in the terminal.", common))
    _add_bench(
        command("bench", "Measure the running node: tokens a second, time to first token.", common, _json())
    )
    _add_models(command("models", "Find, download, list, add, remove, load and unload models."), common)
    planned = command(
        "plan", "Tell where a model would run, how fast, and who would see what.", common, _json()
    )
    planned.add_argument("name", metavar="MODEL")
    command("peers", "List the nodes that the running node is connected with.", common, _json())
    invite = command("invite", "Print a code with which another node can join this one.", common, _json())
    invite.add_argument("--qr", action="store_true", help="draw it as a QR code as well")
    join = command("join", "Connect the running node with the one that an invite is from.", common, _json())
    join.add_argument("code", metavar="CODE", help="invite code, or address of a node")
    command("config", "Print the effective options and where each came from.", common, running, _json())
    command("stop", "Stop the running node.", common)
    command("key", "Print the API key, for programs that use this node.", common)
    command("version", "Print the version.", _json())
    return parser


def _add_chat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "message", nargs="?", help="ask this, print the answer and end; - reads it from stdin"
    )
    parser.add_argument("--model-name", metavar="NAME", default="auto", help="model to chat with")
    parser.add_argument("--system", metavar="TEXT", help="system prompt")
    parser.add_argument("--max-tokens", metavar="N", type=_positive, help="most tokens of an answer")
    parser.add_argument("--temperature", metavar="F", type=_temperature, help="0 to 2 (the model's own)")
    parser.add_argument(
        "--history", metavar="FILE", type=Path, help="keep the conversation in FILE and go on with it"
    )


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-tokens", metavar="N", type=_positive, default=100, help="tokens a request (100)"
    )
    parser.add_argument("--iterations", metavar="N", type=_positive, default=5, help="rounds (5)")
    parser.add_argument("--concurrency", metavar="N", type=_positive, default=1, help="requests at once (1)")
    parser.add_argument("--stream", action="store_true", help="report the time to first token as well")
    parser.add_argument("--prompt", metavar="TEXT", default=_BENCH_PROMPT, help="prompt to send")
    parser.add_argument(
        "--model-id", "--model-name", metavar="ID", dest="model_id", default="auto", help="model to measure"
    )


def _add_models(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=text, description=text, parents=[common, _json()])
        made.set_defaults(action=name)
        return made

    action("list", "List the models of the running node.")
    add = action("add", "Add a GGUF file to the library of the running node.")
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--name", metavar="NAME", help="name to list it under")
    for name, text in (
        ("remove", "Remove a model and its files."),
        ("load", "Load a model into memory now."),
        ("unload", "Free the memory that a model takes."),
    ):
        action(name, text).add_argument("name", metavar="MODEL")
    _add_store(action)
    _add_hub(action)


def _add_store(action: Callable[[str, str], argparse.ArgumentParser]) -> None:
    verify = action("verify", "Hash every shard of a model; what is wrong is set aside, and the exit code 1.")
    verify.add_argument("name", nargs="?", metavar="MODEL", help="default: every model")
    take = action("import", "Take in a model that Ollama, LM Studio or the Hugging Face cache holds.")
    take.add_argument("source", nargs="?", metavar="SOURCE", help="name or path; without it, all are listed")
    take.add_argument("--name", metavar="NAME", help="name to list it under")
    shards = action("shards", "Show the shards of a model, or what all models take; lock or remove some.")
    shards.add_argument("name", nargs="?", metavar="MODEL", help="default: what every model takes")
    change = shards.add_mutually_exclusive_group()
    for flag, text in (
        ("--lock", "keep these shards from being deleted, e.g. 0-3,7"),
        ("--unlock", "no longer keep these"),
        ("--remove", "delete these"),
    ):
        change.add_argument(flag, metavar="LIST", type=_shards, help=text)


def _add_hub(action: Callable[[str, str], argparse.ArgumentParser]) -> None:
    search = action("search", "Search Hugging Face for models that this node can run.")
    search.add_argument("query", nargs="*", metavar="WORD", help="without any: what is popular now")
    search.add_argument("--limit", metavar="N", type=_positive, default=10, help="most repositories (10)")
    probe = action("probe", "Tell what a model on Hugging Face needs, without downloading it.")
    download = action("download", "Download a model from Hugging Face; what is there already is kept.")
    for parser in (probe, download):
        parser.add_argument("repo", metavar="OWNER/NAME")
        parser.add_argument("file", nargs="?", metavar="FILE", help="default: the recommended variant")
        parser.add_argument("--revision", metavar="REV", default="main", help="branch, tag or commit (main)")
    part = download.add_mutually_exclusive_group()
    part.add_argument("--shards", metavar="LIST", type=_shards, help="only these shards, e.g. 0-3,7")
    part.add_argument("--fair-share", action="store_true", help="only this node's share among its peers")
    download.add_argument("--no-wait", action="store_true", help="end at once; the node goes on")
    action("downloads", "List what is being downloaded and what was.")
    for name, text in (
        ("pause", "Stop a download for now."),
        ("resume", "Go on with a download that was paused or failed."),
        ("cancel", "End a download and remove what was fetched."),
    ):
        action(name, text).add_argument("download", metavar="ID")
    token = action(
        "token", "Give the node your Hugging Face token, for gated models; asked for or from stdin."
    )
    token.add_argument("--forget", action="store_true", help="forget the one that is kept")


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_place(parser)
    return parser


def _running() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_running(parser)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    _flag(parser, "-d", "--data-dir", metavar="PATH", help="folder that the node keeps everything in")
    _flag(parser, "-c", "--config", metavar="PATH", type=Path, help="configuration file")


def _add_running(parser: argparse.ArgumentParser) -> None:
    _flag(parser, "--headless", action="store_true", help="open no windows")
    _flag(parser, "-p", "--port", metavar="PORT", help="port of the local API")
    _flag(parser, "-m", "--model", metavar="PATH", help="GGUF file to serve as the default model")
    _flag(parser, "--gpu-layers", metavar="N", help="layers to put on the GPU")
    _flag(parser, "--network", action=argparse.BooleanOptionalAction, help="meet other nodes")
    _flag(
        parser,
        "--bootstrap",
        metavar="CODE",
        action="append",
        help="invite code or address of a node to meet; repeatable, implies --network",
    )
    _flag(parser, "-v", "--verbose", action="count", help="log more; -vv logs everything")


def _flag(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    # Suppressed defaults let a flag stand before or behind the command.
    parser.add_argument(*names, default=argparse.SUPPRESS, **options)


def _json() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _number(text: str, kind: Callable[[str], float], low: float, high: float, bounds: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be {bounds}, not {text!r}")
    return value


def _positive(text: str) -> int:
    return int(_number(text, int, 1, 1_000_000, "between 1 and 1000000"))


def _shards(text: str) -> list[int]:
    """E.g. "0-3,7"."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        sound = first.isdecimal() and (last.isdecimal() if dash else True) and len(part) < 12
        if not sound or int(last or first) - int(first) > 16_384:
            raise argparse.ArgumentTypeError(f"must be like 0-3,7, not {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def _temperature(text: str) -> float:
    return _number(text, float, 0.0, 2.0, "between 0 and 2")
