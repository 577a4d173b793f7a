"""`swarmllm plan MODEL`: where it would run, before anything is sent"""

import argparse
from collections.abc import Iterator

import msgspec

from app.cli import exits
from app.cli.commands.calls import call
from app.cli.host import Host
from app.cli.parser import flags_of
from app.cli.terminal import harmless, say, say_json
from app.client.types import Placement, Sight, Stage


def run(arguments: argparse.Namespace, host: Host) -> int:
    """Exits with 1 where the model cannot run, so that scripts can ask."""
    plan = call(host, flags_of(arguments), lambda client: client.plan(arguments.name))
    if arguments.json:
        say_json(msgspec.to_builtins(plan))
    else:
        say("\n".join(map(harmless, described(plan))))
    return exits.OK if plan.possible else exits.FAILURE


def described(plan: Placement) -> Iterator[str]:
    """`plan` as lines for a person."""
    yield f"Model     {plan.name or plan.model_id}"
    if plan.problem:
        yield f"Problem   {plan.problem}"
    for stage in plan.stages:
        yield f"Runs      {_stage(stage)}"
    if plan.possible:
        yield f"Speed     {_speed(plan)}"
    if plan.round_trips:
        yield f"Network   {plan.round_trips} round trips for each token"
    yield f"Memory    {plan.memory.sentence}"
    for sight in plan.who_sees:
        yield f"Sees      {sight.peer}: {_sight(sight)}"


def _stage(stage: Stage) -> str:
    parts = ["embedding"] if stage.embedding else []
    if stage.last_layer > stage.first_layer:
        parts.append(f"layers {stage.first_layer} to {stage.last_layer - 1}")
    parts += ["output head"] if stage.head else []
    state = "loaded" if stage.loaded else "on disk"
    standbys = f"; standby {', '.join(stage.standbys)}" if stage.standbys else ""
    return f"{stage.peer}: {', '.join(parts)} ({state}{standbys})"


def _speed(plan: Placement) -> str:
    if plan.tokens_per_second is None or plan.first_token_seconds is None:
        return "not measured yet"
    first = f"first token of a {plan.prompt_tokens}-token prompt after {plan.first_token_seconds:.1f} s"
    return f"about {plan.tokens_per_second:.1f} tokens a second, {first}"


def _sight(sight: Sight) -> str:
    seen = ["the text"] if sight.text else []
    if not sight.text:
        seen += ["the prompt's tokens"] if sight.prompt_tokens else []
        seen += ["the answer's tokens"] if sight.answer_tokens else []
    for first, last in sight.hidden_layers:
        layers = f"layers {first} to {last - 1}" if last > first else "the last layer"
        seen.append(f"hidden states of {layers}")
    return ", ".join(seen) or "nothing"
