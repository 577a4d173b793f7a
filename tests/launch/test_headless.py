"""A node in the terminal: what it says, how it stops, and what stands in its way."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.node_process import running_node


def run_again(data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", "run", "--headless", "-d", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(data.parent)},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running_node(tmp_path) as node:
        assert "The node is running. Ctrl-C stops it." in node.log_text()
        assert f"API        {node.url}/v1" in node.log_text()
        assert "Keys are kept unencrypted in" in node.log_text()
        node.process.send_signal(number)
        assert node.process.wait(30) == 0
    assert f"Stopping ({number.name})" in node.log_text()
    assert not (node.data_dir / "runtime.json").exists()


@pytest.mark.slow
def test_a_second_node_and_a_taken_port_are_one_clear_line(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        second = run_again(node.data_dir, "-p", "0")
        assert second.returncode == 1
        assert f"in use by another node (process {node.process.pid})" in second.stderr
        taken = run_again(tmp_path / "other", "-p", str(node.port))
        assert taken.returncode == 2
        assert str(node.port) in taken.stderr.splitlines()[-1]
        # What the failed start had locked is free again.
        assert run_again(tmp_path / "other", "-p", str(node.port)).returncode == 2
        for done in (second, taken):
            assert done.stderr.splitlines()[-1].startswith("swarmllm: ")
            assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_killed_nodes_start_again_with_the_same_identity(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        with running_node(tmp_path) as node:
            _, status = node.request("GET", "/v1/status")
            _, models = node.request("GET", "/v1/models")
            seen.add((status["node_id"], json.dumps([model["id"] for model in models["data"]])))
            node.process.kill()
            node.process.wait()
    assert len(seen) == 1


@pytest.mark.slow
def test_a_damaged_database_costs_neither_keys_nor_models(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        _, before = node.request("GET", "/v1/status")
    (node.data_dir / "db.sqlite3").write_bytes(b"not a database" * 1000)
    with running_node(tmp_path) as node:
        _, after = node.request("GET", "/v1/status")
        _, models = node.request("GET", "/v1/models")
    assert after["node_id"] == before["node_id"]
    assert models["data"]
    assert any("The database was damaged" in warning for warning in after["warnings"])
    assert len(list(node.data_dir.glob("db.sqlite3.corrupt-*"))) == 1
    with closing(sqlite3.connect(node.data_dir / "db.sqlite3")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_the_passphrase_reaches_the_vault_and_no_child(tmp_path: Path) -> None:
    with running_node(tmp_path, SWARMLLM_VAULT_PASSPHRASE="correct horse") as node:
        _, status = node.request("GET", "/v1/status")
        assert status["secrets_backend"] == "vault"
        body = {"model": "auto", "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]}
        code, _ = node.request("POST", "/v1/chat/completions", body)
        assert code == 200
        (worker,) = node.workers()
        assert "SWARMLLM_VAULT_PASSPHRASE" not in worker.environ()
        assert "correct horse" not in node.log_text()


@pytest.mark.slow
def test_a_log_file_gets_json(tmp_path: Path) -> None:
    file = tmp_path / "node.log"
    with running_node(tmp_path, SWARMLLM_LOGGING_FILE=str(file), SWARMLLM_LOGGING_FORMAT="json"):
        pass
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert any("API at http://127.0.0.1:" in record["message"] for record in records)
