"""`swarmllm bench`: sends the same chat request again and again, and reports speed.

Each iteration sends `--concurrency` requests at once and waits for all of them. A short request before the
first loads the model and is not counted. Every answer is as long as `--max-tokens` says: the model's end of
sequence is ignored, so that runs can be compared.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import Progress, say, say_json, table
from app.client.client import Client
from app.client.errors import ClientError
from app.client.types import Message, Options, Reasoning, Text, Usage


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured request; times in seconds since it was sent."""

    iteration: int
    seconds: float
    first_token_seconds: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    model: str

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first one."""
        rest = self.seconds - self.first_token_seconds
        return (self.completion_tokens - 1) / rest if self.completion_tokens > 1 and rest > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Round:
    """The requests of one iteration, and the time from the first sent to the last finished."""

    samples: tuple[Sample, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second of all its requests together."""
        return sum(sample.completion_tokens for sample in self.samples) / self.seconds


def run(arguments: argparse.Namespace, host: Host) -> int:
    rounds = call(host, flags_of(arguments), lambda client: _measure(client, arguments))
    result = summary(rounds, arguments)
    if arguments.json:
        say_json(result)
    else:
        say(described(rounds, result))
    return exits.OK


def summary(rounds: Sequence[Round], arguments: argparse.Namespace) -> dict[str, Any]:
    """The result as `--json` prints it."""
    samples = [sample for measured in rounds for sample in measured.samples]
    result: dict[str, Any] = {
        "model": samples[0].model,
        "prompt_tokens": samples[0].prompt_tokens,
        "max_tokens": arguments.max_tokens,
        "iterations": arguments.iterations,
        "concurrency": arguments.concurrency,
        "stream": arguments.stream,
        "tokens_per_second": _spread([measured.rate for measured in rounds]),
        "seconds_per_request": _spread([sample.seconds for sample in samples]),
    }
    if arguments.stream:
        result["ttft_seconds"] = _spread([sample.first_token_seconds for sample in samples])
        result["decode_tokens_per_second"] = _spread([sample.decode_rate for sample in samples])
    result["requests"] = [_shown(sample, stream=arguments.stream) for sample in samples]
    return result


def described(rounds: Sequence[Round], result: dict[str, Any]) -> str:
    """The result as a table for a person."""
    head = ["ITERATION", "SECONDS", "TOKENS", "TOK/S"] + (["TTFT"] if result["stream"] else [])
    rows = []
    for number, measured in enumerate(rounds, start=1):
        tokens = sum(sample.completion_tokens for sample in measured.samples)
        row = [str(number), f"{measured.seconds:.2f}", str(tokens), f"{measured.rate:.1f}"]
        if result["stream"]:
            row.append(_milliseconds(fmean(sample.first_token_seconds for sample in measured.samples)))
        rows.append(row)
    title = f"{result['model']}: {result['prompt_tokens']} prompt tokens, {result['concurrency']} at once"
    rate = result["tokens_per_second"]
    lines = [title, table(head, rows), f"Tokens a second: mean {rate['mean']:.1f}, median {rate['p50']:.1f}"]
    if result["stream"]:
        first = result["ttft_seconds"]
        lines.append(
            f"Time to first token: median {_milliseconds(first['p50'])}, 95 % {_milliseconds(first['p95'])}"
        )
    return "\n".join(lines)


async def _measure(client: Client, arguments: argparse.Namespace) -> list[Round]:
    total = arguments.iterations
    with Progress("Measuring") as progress:
        await _ask(client, arguments, iteration=0, max_tokens=1)
        rounds = []
        for iteration in range(1, total + 1):
            progress.update((iteration - 1) / total)
            rounds.append(await _round(client, arguments, iteration))
    return rounds


async def _round(client: Client, arguments: argparse.Namespace, iteration: int) -> Round:
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    _ask(client, arguments, iteration=iteration, max_tokens=arguments.max_tokens),
                    name=f"bench-{number}",
                )
                for number in range(arguments.concurrency)
            ]
    except* ClientError as failed:
        # One failed request ends the measurement; the others fail for the same reason or were cancelled.
        raise _first(failed) from None
    return Round(samples=tuple(task.result() for task in tasks), seconds=time.perf_counter() - began)


async def _ask(client: Client, arguments: argparse.Namespace, *, iteration: int, max_tokens: int) -> Sample:
    options = Options(max_tokens=max_tokens, ignore_eos=True)
    began = time.perf_counter()
    first: float | None = None
    usage = Usage(prompt_tokens=0, completion_tokens=0)
    messages = [Message(role="user", content=arguments.prompt)]
    async for delta in client.chat(messages, model=arguments.model_id, options=options):
        if first is None and isinstance(delta, (Text, Reasoning)):
            first = time.perf_counter() - began
        if isinstance(delta, Usage):
            usage = delta
    seconds = time.perf_counter() - began
    return Sample(
        iteration=iteration,
        seconds=seconds,
        first_token_seconds=seconds if first is None else first,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        model=usage.model or arguments.model_id,
    )


def _first(group: BaseExceptionGroup[ClientError]) -> ClientError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "mean": round(fmean(ordered), 4),
        "min": round(ordered[0], 4),
        "p50": round(_quantile(ordered, 0.50), 4),
        "p95": round(_quantile(ordered, 0.95), 4),
        "max": round(ordered[-1], 4),
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest values."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _shown(sample: Sample, *, stream: bool) -> dict[str, Any]:
    shown = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(sample).items()
    }
    if not stream:
        del shown["first_token_seconds"]
    return shown


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
