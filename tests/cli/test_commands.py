"""Commands that ask a node: status, models, bench, stop."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from app.core.kernel.errors import BadModelFile, Overloaded
from tests.support.api_router import answer, whole
from tests.support.api_server import Node
from tests.support.cli_node import FixedHost


def test_status_for_people_and_programs(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"], host=host) == 0
    said = capsys.readouterr().out
    assert f"API       {host.url}/v1" in said
    assert "Warning   Secrets lie in plain files." in said
    assert run(["status", "--json"], host=host) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["version"] == "0.1.0"
    assert status["url"] == host.url


def test_models_are_listed(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"], host=host) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["MODEL", "NAME", "ARCHITECTURE", "QUANTIZATION", "SIZE", "CONTEXT", "STATE"]
    assert row.split() == ["guide", "Guide", "llama", "Q8_0", "6.7", "MiB", "1024", "on", "disk"]
    assert run(["models", "list", "--json"], host=host) == 0
    assert [model["id"] for model in json.loads(capsys.readouterr().out)] == ["guide"]


def test_a_model_is_added_loaded_unloaded_and_removed(
    host: FixedHost, node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.gguf"
    file.write_bytes(b"GGUF")
    assert run(["models", "add", str(file), "--name", "Newest", "--json"], host=host) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "new"
    assert run(["models", "load", "new"], host=host) == 0
    assert list(node.engine.models) == ["new"]
    assert run(["models", "unload", "new"], host=host) == 0
    assert not node.engine.models
    assert capsys.readouterr().out == "Loaded new.\nUnloaded new.\n"
    assert run(["models", "remove", "new", "--json"], host=host) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": "new"}
    assert list(node.library.entries) == ["guide"]


def test_failures_of_the_node_are_one_line(
    host: FixedHost, node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "remove", "none"], host=host) == 1
    assert capsys.readouterr().err == "swarmllm: There is no model 'none' on this node.\n"
    assert run(["models", "add", str(tmp_path / "none.gguf")], host=host) == 1
    assert "There is no file" in capsys.readouterr().err
    node.library.failure = BadModelFile("The file is truncated.")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    assert run(["models", "add", str(tmp_path / "bad.gguf")], host=host) == 1
    assert capsys.readouterr().err == "swarmllm: The file is truncated.\n"


def test_bench_measures_every_request(
    host: FixedHost, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.router.script = whole(*answer(*["word "] * 20, reason="length"), completion=20)
    argv = ["bench", "--iterations", "3", "--concurrency", "2", "--max-tokens", "20", "--stream", "--json"]
    assert run([*argv, "--prompt", "Count."], host=host) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["prompt_tokens"]) == ("guide", 7)
    assert [request["iteration"] for request in result["requests"]] == [1, 1, 2, 2, 3, 3]
    assert all(request["completion_tokens"] == 20 for request in result["requests"])
    assert set(result["ttft_seconds"]) == {"mean", "min", "p50", "p95", "max"}
    assert result["tokens_per_second"]["min"] > 0
    sent: list[Any] = list(node.router.requests)
    warm_up, *measured = sent
    assert len(measured) == 6
    assert [request.sampling.max_tokens for request in (warm_up, measured[0])] == [1, 20]
    assert measured[0].messages[-1].content == "Count."


def test_bench_prints_a_table_without_first_tokens_unless_asked(
    host: FixedHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "--iterations", "2"], host=host) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == ["ITERATION", "SECONDS", "TOKENS", "TOK/S"]
    assert "first token" not in said
    assert run(["bench", "--iterations", "1", "--json"], host=host) == 0
    result = json.loads(capsys.readouterr().out)
    assert "ttft_seconds" not in result
    assert "first_token_seconds" not in result["requests"][0]


def test_bench_ends_with_the_first_failure(
    host: FixedHost, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.router.script = [Overloaded("The queue is full.")]
    assert run(["bench", "--concurrency", "3"], host=host) == 1
    assert capsys.readouterr().err.endswith("swarmllm: The queue is full.\n")


def test_stop_asks_the_node_to_stop(host: FixedHost, node: Node) -> None:
    assert run(["stop"], host=host) == 0
    assert node.stopping.is_set()
