"""What a new user sees: an empty data directory, one command, a chat; and what a crash must not take."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.support.node_process import RunningNode, running_node

GUIDE = "swarmllm-guide"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running


def _client(node: RunningNode) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key=node.token, max_retries=0)


def _ask(client: openai.OpenAI, question: str) -> str:
    answer = client.chat.completions.create(
        model=GUIDE, messages=[{"role": "user", "content": question}], temperature=0
    )
    return answer.choices[0].message.content or ""


def test_the_official_client_streams_an_answer_from_the_built_in_model(node: RunningNode) -> None:
    with _client(node) as client:
        stream = client.chat.completions.create(
            model=GUIDE, messages=[{"role": "user", "content": "Hello!"}], stream=True, temperature=0
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert len(pieces) > 3
        assert "".join(pieces) == _ask(client, "Hello!")


def test_the_built_in_model_is_listed_and_says_that_it_is_a_demonstration(node: RunningNode) -> None:
    with _client(node) as client:
        assert GUIDE in [model.id for model in client.models.list()]
    status, body = node.request("GET", "/api/admin/models")
    assert status == 200
    assert "demonstration" in str(body).lower()


def test_the_session_file_is_private_and_goes_when_the_node_ends(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        runtime = node.data_dir / "runtime.json"
        assert stat.S_IMODE(runtime.stat().st_mode) == 0o600
        assert stat.S_IMODE(node.data_dir.stat().st_mode) == 0o700
    assert not runtime.exists()


def test_a_killed_worker_costs_the_answer_it_wrote_and_the_next_request_works(node: RunningNode) -> None:
    with _client(node) as client:
        before = _ask(client, "Hello!")
        stream = client.chat.completions.create(
            model=GUIDE,
            messages=[{"role": "user", "content": "Hello!"}],
            stream=True,
            max_tokens=1500,
            extra_body={"ignore_eos": True},
        )
        next(iter(stream))
        (worker,) = node.workers()
        worker.kill()
        with pytest.raises(openai.APIError, match="worker"):
            for _ in stream:
                pass
        assert _ask(client, "Hello!") == before


def test_a_killed_node_starts_again_with_its_models_and_its_key(tmp_path: Path, guide_model: Path) -> None:
    with running_node(tmp_path) as node:
        status, first = node.request("GET", "/api/admin/api-key")
        assert status == 200
        assert _ask(_client(node), "Hello!")
        workers = node.workers()
        os.kill(node.process.pid, signal.SIGKILL)
        node.process.wait(10)
    deadline = time.monotonic() + 5
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(worker.is_running() for worker in workers), "a worker outlived its node"
    with running_node(tmp_path) as node:
        assert node.request("GET", "/api/admin/api-key") == (200, first)
        assert _ask(_client(node), "Hello!")


def test_a_second_node_on_the_same_data_directory_is_refused_in_a_sentence(node: RunningNode) -> None:
    with pytest.raises(AssertionError, match="in use by another node"), running_node(node.data_dir.parent):
        pass


def test_a_damaged_database_is_set_aside_and_told_with_models_and_key_intact(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        key = node.request("GET", "/api/admin/api-key")
        models = node.request("GET", "/v1/models")
    for path in (tmp_path / "data").glob("db.sqlite3*"):
        path.write_bytes(b"\xff" * 8192)
    with running_node(tmp_path) as node:
        assert node.request("GET", "/api/admin/api-key") == key
        assert node.request("GET", "/v1/models") == models
        _, status = node.request("GET", "/v1/status")
        assert any("database was damaged" in warning for warning in status["warnings"])
        assert list((tmp_path / "data").glob("db.sqlite3.corrupt-*"))
