"""`swarmllm plan`, over a node whose models are planned for real."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app.cli.main import run
from app.core.swarm.preview import Preview
from tests.support.api_server import Node
from tests.support.cli_node import FixedHost, served
from tests.support.scheduling_previews import held_together


def planned(preview: Callable[[str], Preview], folder: Path, *arguments: str) -> int:
    with served(Node(preview=preview)) as node:
        return run(["plan", *arguments], host=FixedHost(data=folder, url=node.url))


def test_a_plan_tells_who_runs_what_and_who_sees_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(held_together, tmp_path, "large") == 0
    assert capsys.readouterr().out.splitlines() == [
        "Model     Large",
        "Runs      this node: embedding (loaded)",
        "Runs      alice: layers 0 to 2 (loaded; standby carol)",
        "Runs      bob: layers 3 to 5 (loaded)",
        "Runs      this node: output head (loaded)",
        "Speed     about 8.9 tokens a second, first token of a 512-token prompt after 3.1 s",
        "Network   2 round trips for each token",
        "Memory    weights 3.0 GiB = 3.0 GiB, which does not fit into 2.0 GiB.",
        "Sees      this node: the text, hidden states of the last layer",
        "Sees      alice: hidden states of layers 0 to 2",
        "Sees      bob: hidden states of layers 3 to 5",
    ]


def test_speeds_that_nobody_has_measured_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(partial(held_together, measured=False), tmp_path, "large") == 0
    assert "Speed     not measured yet" in capsys.readouterr().out


def test_what_is_missing_is_told_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = partial(held_together, missing=True)
    assert planned(preview, tmp_path, "large") == 1
    assert "missing: layers 3 to 5 (held by bob (unreachable))." in capsys.readouterr().out
    assert planned(preview, tmp_path, "large", "--json") == 1
    plan = json.loads(capsys.readouterr().out)
    assert plan["placement"] is None
    assert plan["missing"][0]["holders"] == [{"peer": "bob", "why": "unreachable"}]


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(held_together, tmp_path, "nope") == 1
    assert "no model named 'nope'" in capsys.readouterr().err
