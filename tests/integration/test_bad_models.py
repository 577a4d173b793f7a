"""Damaged model files: each ends in a sentence or in a model that answers, and the node lives on."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import random_gguf
from tests.support.node_process import RunningNode, running_node

HEADER = 40_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    limits = {"SWARMLLM_API_RATE_LIMIT_RPM": "0"}
    with running_node(tmp_path_factory.mktemp("node"), **limits) as running:
        yield running


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "sound.gguf"
    random_gguf.write(path, random_gguf.SHAPES["tiny"], "q8_0", name="sound")
    return path.read_bytes()


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _flipped_header(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(HEADER)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _flipped_weights(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(2000):
        damaged[chance.randrange(HEADER, len(data))] = chance.randrange(256)
    return bytes(damaged)


def _try_out(node: RunningNode, path: Path) -> None:
    """Imports the file and asks the model, if it becomes one. What fails must say why."""
    before = _models(node)
    _, answer = node.request("POST", "/api/admin/models/import", {"path": str(path)})
    assert b"Traceback" not in (answer if isinstance(answer, bytes) else str(answer).encode())
    for model in _models(node) - before:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        status, answer = node.request("POST", "/v1/chat/completions", body)
        assert status == 200 or len(answer["error"]["message"]) > 20, answer
        assert node.request("DELETE", f"/api/admin/models/{model}")[0] in {200, 204}


def _models(node: RunningNode) -> set[str]:
    _, listed = node.request("GET", "/v1/models")
    return {model["id"] for model in listed["data"]}


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (_truncated, 3),
        (_flipped_header, 5),
        (_flipped_weights, 1),
        pytest.param(_truncated, 30, marks=pytest.mark.slow),
        pytest.param(_flipped_header, 60, marks=pytest.mark.slow),
        pytest.param(_flipped_weights, 10, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_model_file_costs_nothing_but_itself(
    node: RunningNode, sound: bytes, tmp_path: Path, damage, count: int
) -> None:
    for seed in range(count):
        path = tmp_path / f"damaged-{seed}.gguf"
        path.write_bytes(damage(sound, random.Random(seed + 1000 * count)))
        _try_out(node, path)
    status, answer = node.request(
        "POST",
        "/v1/chat/completions",
        {"model": "swarmllm-guide", "messages": [{"role": "user", "content": "hello"}], "temperature": 0},
    )
    assert status == 200, answer
    assert "Traceback" not in node.log_text()
