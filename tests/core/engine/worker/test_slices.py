"""Layer slices against the whole model: the same tokens, and the same logits bit for bit."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.core.engine.messages import EndSequence, Failed, Hidden, Ping, Pong
from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.context import Context, ContextOptions
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.llama.model import Model
from tests.support.worker_client import Worker, whole
from tests.support.worker_models import Shape, cut, write_model

LAYERS = 4
PROMPT = np.array([1, *range(300, 340)], np.int32)
STEPS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("slices") / "model.gguf")


@pytest.fixture(scope="module")
def whole_run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], np.ndarray]:
    with Worker() as worker:
        worker.load(whole(model))
        answer = worker.generate([int(t) for t in PROMPT], max_tokens=STEPS, ignore_eos=True)
    return answer.tokens(), _reference_logits(model)


def _reference_logits(model: Path) -> np.ndarray:
    """Logits of the whole model, through llama.cpp's API as plainly as can be, [STEPS, n_vocab]."""

    logs = LogRoute()
    logs.install()
    loaded = Model.load([str(model)], gpu_layers=0, progress=lambda _: None, reason=logs.take_error)
    options = ContextOptions(tokens=2048, sequences=4, batch=256, outputs=4, threads=1)
    context = Context(loaded, options)
    batch, position, ids, rows = Batch(256), 0, PROMPT, []
    for _ in range(STEPS):
        batch.clear()
        end = batch.extend(ids, position, 0, wanted=1)
        assert context.decode(batch) == 0
        rows.append(context.logits(end - 1).copy())
        position, ids = position + len(ids), np.array([rows[-1].argmax()], np.int32)
    context.close()
    loaded.close()
    return np.stack(rows)


def test_vectors_of_a_model_with_four_positions_a_row_give_the_same_logits(tmp_path: Path) -> None:
    shape = Shape(architecture="qwen2vl")
    model = write_model(tmp_path / "model.gguf", shape)
    logits = _reference_logits(model)
    with Worker() as front, Worker() as back:
        front.load(cut(model, tmp_path / "front.gguf", 0, 2, total=LAYERS))
        back.load(cut(model, tmp_path / "back.gguf", 2, LAYERS, total=LAYERS))
        assert np.array_equal(_run([front, back])[1], logits)


class Stages:
    """One worker per window, started when first asked for."""

    def __init__(self, model: Path, folder: Path, stack: ExitStack) -> None:
        self._model = model
        self._folder = folder
        self._stack = stack
        self._workers: dict[tuple[int, int], Worker] = {}

    def get(self, first: int, last: int) -> Worker:
        if (first, last) not in self._workers:
            window = cut(self._model, self._folder / f"{first}-{last}.gguf", first, last, total=LAYERS)
            worker = self._workers[first, last] = self._stack.enter_context(Worker())
            worker.load(window)
        return self._workers[first, last]


@pytest.fixture(scope="module")
def stages(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with ExitStack() as stack:
        yield Stages(model, tmp_path_factory.mktemp("stages"), stack)


@pytest.mark.parametrize(
    "cuts", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3)], ids=lambda cuts: "-".join(map(str, cuts))
)
def test_stages_give_the_tokens_and_logits_of_the_whole_model(
    stages: Stages, whole_run: tuple[list[int], np.ndarray], cuts: tuple[int, ...]
) -> None:
    tokens, logits = whole_run
    chain = [stages.get(first, last) for first, last in pairwise([0, *cuts, LAYERS])]
    got_tokens, got_logits = _run(chain)
    for stage in chain:
        _end(stage, 0)
    assert got_tokens == tokens
    assert np.array_equal(got_logits, logits)


def _run(stages: list[Worker]) -> tuple[list[int], np.ndarray]:
    position, rows, tokens, logits = 0, PROMPT, [], []
    for _ in range(STEPS):
        count, hidden = len(rows), rows
        for stage in stages:
            wanted = 1 if stage is stages[-1] else None
            hidden = stage.forward(hidden, position=position, wanted=wanted)
        logits.append(hidden[-1])
        tokens.append(int(hidden[-1].argmax()))
        position, rows = position + count, np.array([tokens[-1]], np.int32)
    return tokens, np.stack(logits)


@pytest.fixture
def middle(stages: Stages) -> Worker:
    """Layers 1 and 2, vectors in and out, four sequences."""
    return stages.get(1, 3)


def _states(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 64), np.float32)


def _end(worker: Worker, *sequences: int) -> None:
    for sequence in sequences:
        worker.send(EndSequence(sequence=sequence))


def test_several_sequences_batched_in_one_tick_keep_apart(middle: Worker) -> None:
    alone = [middle.forward(_states(5, seed), sequence=seed) for seed in range(3)]
    _end(middle, 0, 1, 2)
    requests = [middle.send_forward(_states(5, seed), sequence=seed) for seed in range(3)]
    together = dict.fromkeys(requests)
    for _ in requests:
        report, payload = middle.receive()
        assert isinstance(report, Hidden)
        together[report.request] = np.frombuffer(payload, np.float32).reshape(report.rows, report.width)
    for request, rows in zip(requests, alone, strict=True):
        np.testing.assert_allclose(together[request], rows, rtol=1e-4, atol=1e-4)
    _end(middle, 0, 1, 2)


def test_sequences_with_a_gap_between_them_keep_apart(middle: Worker) -> None:
    for sequence in range(3):
        middle.forward(_states(5, sequence), sequence=sequence)
    _end(middle, 1)
    requests = [middle.send_forward(_states(1, 9), sequence=seed, position=5) for seed in (2, 0)]
    rows = {}
    for _ in requests:
        report, payload = middle.receive()
        rows[report.request] = np.frombuffer(payload, np.float32)
    _end(middle, 0, 2)
    for request, sequence in zip(requests, (2, 0), strict=True):
        middle.forward(_states(5, sequence), sequence=7)
        again = middle.forward(_states(1, 9), sequence=7, position=5)
        _end(middle, 7)
        np.testing.assert_allclose(rows[request], again[0], rtol=1e-4, atol=1e-4)


def test_a_long_run_is_computed_in_batches_and_only_wanted_rows_come_back(middle: Worker) -> None:
    rows = _states(400)
    last = middle.forward(rows, wanted=3)
    _end(middle, 0)
    everything = middle.forward(rows)
    _end(middle, 0)
    assert last.shape == (3, 64)
    assert everything.shape == (400, 64)
    np.testing.assert_allclose(last, everything[-3:], rtol=1e-4, atol=1e-4)


def test_rows_that_nobody_wants_still_become_context(middle: Worker) -> None:
    rows = _states(20)
    assert middle.forward(rows[:12], wanted=0).shape == (0, 64)
    rest = middle.forward(rows[12:], position=12)
    _end(middle, 0)
    everything = middle.forward(rows)
    _end(middle, 0)
    np.testing.assert_allclose(rest, everything[12:], rtol=1e-4, atol=1e-4)


def test_a_lower_position_rolls_the_sequence_back(middle: Worker) -> None:
    rows = _states(20)
    first = middle.forward(rows)
    middle.forward(_states(4, 9), position=20)
    again = middle.forward(rows[10:], position=10)
    _end(middle, 0)
    np.testing.assert_allclose(again, first[10:], rtol=1e-4, atol=1e-4)


def test_rollback_is_refused_where_the_state_cannot_be_cut(model: Path, tmp_path: Path) -> None:
    window = cut(model, tmp_path / "slice.gguf", 1, 3, total=LAYERS)
    inexact = msgspec.structs.replace(window, exact_rollback=False)
    with Worker() as worker:
        worker.load(inexact)
        worker.forward(_states(8))
        worker.send_forward(_states(1), position=4)
        assert worker.expect(Failed).code == "unsupported"
        assert worker.forward(_states(8), position=0).shape == (8, 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_hidden_states_that_are_no_numbers_are_refused(middle: Worker, value: float) -> None:
    rows = _states(2)
    rows[1, 7] = value
    middle.send_forward(rows)
    assert middle.expect(Failed).code == "invalid_request"
    assert middle.forward(_states(2)).shape == (2, 64)
    _end(middle, 0)


def test_a_payload_of_the_wrong_size_is_refused(middle: Worker) -> None:
    middle.send_forward(_states(2)[:, :63])
    failed = middle.expect(Failed)
    assert failed.code == "invalid_request"
    assert "512 bytes" in failed.message


def test_a_gap_in_the_positions_is_refused(middle: Worker) -> None:
    middle.send_forward(_states(2), position=7)
    assert middle.expect(Failed).code == "invalid_request"
    _end(middle, 0)


def test_more_positions_than_the_context_holds_are_refused(middle: Worker) -> None:
    middle.send_forward(_states(3), position=510)
    failed = middle.expect(Failed)
    assert failed.code == "context_length_exceeded"
    assert "513" in failed.message
    assert "512" in failed.message


def test_more_sequences_than_slots_are_refused_until_one_ends(middle: Worker) -> None:
    for sequence in (9, 10, 11, 12):
        middle.forward(_states(1), sequence=sequence)
    middle.send(Ping(request=middle.number()))
    assert middle.expect(Pong).sequences == 4
    middle.send_forward(_states(1), sequence=13)
    assert middle.expect(Failed).code == "overloaded"
    _end(middle, 10)
    assert middle.forward(_states(1), sequence=13).shape == (1, 64)
    _end(middle, 9, 11, 12, 13)


def test_what_enters_is_scaled_where_the_architecture_wants_it(
    model: Path, tmp_path: Path, middle: Worker
) -> None:
    window = cut(model, tmp_path / "slice.gguf", 1, 3, total=LAYERS)
    scaled = msgspec.structs.replace(window, input_scale=0.5)
    with Worker() as worker:
        worker.load(scaled)
        got = worker.forward(_states(3))
    expected = middle.forward(_states(3) * np.float32(0.5))
    _end(middle, 0)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
