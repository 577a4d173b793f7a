"""The built-in model, cut at every layer in two and in three stages through the library's windows.

Each window is fed, step by step, with what the stage before it gives, and must give what the next one is
fed with, bit for bit: so every chain of two or three of them gives the whole model's logits and tokens.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.engine.messages import ChatPrompt, Tokenize, Tokens
from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.context import Context, ContextOptions
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.llama.model import Model
from app.core.kernel.events import EventBus
from app.core.kernel.generation import Message
from app.core.kernel.window import Window
from app.core.models.library import Library
from tests.support.worker_client import Worker, whole

pytestmark = pytest.mark.slow
STEPS = 6
Rows = list[np.ndarray]


@pytest.fixture(scope="module")
def feed(guide_model: Path) -> Rows:
    """A prompt, then one token a step: the whole model's greedy choices."""
    with Worker() as worker:
        loaded = worker.load(whole(guide_model, n_layers=8))
        question = ChatPrompt(messages=(Message(role="user", content="How do I add a model?"),))
        worker.send(Tokenize(request=1, prompt=question))
        prompt = worker.expect(Tokens).tokens
        answer = worker.generate(list(prompt), max_tokens=STEPS)
    assert loaded.info.n_layers == 8
    assert len(answer.tokens()) == STEPS
    return [np.array(prompt, np.int32), *(np.array([t], np.int32) for t in answer.tokens()[:-1])]


@pytest.fixture(scope="module")
def logits(guide_model: Path, feed: Rows) -> Iterator[Rows]:
    """Of the last row of each step, straight from llama.cpp."""
    logs = LogRoute()
    logs.install()
    model = Model.load([str(guide_model)], gpu_layers=0, progress=lambda _: None, reason=logs.take_error)
    context = Context(model, ContextOptions(tokens=2048, sequences=4, batch=256, outputs=4, threads=1))
    batch, position, rows = Batch(256), 0, []
    for tokens in feed:
        batch.clear()
        end = batch.extend(tokens, position, 0, wanted=1)
        assert context.decode(batch) == 0
        rows.append(context.logits(end - 1)[None].copy())
        position += len(tokens)
    yield rows
    context.close()
    model.close()


def _through(window: Window, feed: Rows, *, last_only: bool) -> Rows:
    position, out = 0, []
    with Worker() as worker:
        worker.load(window)
        for rows in feed:
            out.append(worker.forward(rows, position=position, wanted=1 if last_only else None))
            position += len(rows)
    return out


async def test_every_window_gives_what_the_next_one_takes(
    guide_model: Path, feed: Rows, logits: Rows, tmp_path: Path
) -> None:
    library = Library(root=tmp_path, bus=EventBus(print), shard_size_mb=1, max_disk_mb=1000)
    async with library:
        entry = await library.import_file(guide_model, progress=lambda _: None)
        layers = entry.n_layers
        hidden = {0: feed}
        for last in range(1, layers):
            hidden[last] = _through(await library.window(entry.id, 0, last), feed, last_only=False)
        for first in range(1, layers):
            for last in range(first + 1, layers):
                got = _through(await library.window(entry.id, first, last), hidden[first], last_only=False)
                assert _same(got, hidden[last]), (first, last)
            ends = _through(await library.window(entry.id, first, layers), hidden[first], last_only=True)
            assert _same(ends, logits), first
    assert [int(row.argmax()) for row in logits[:-1]] == [int(tokens[0]) for tokens in feed[1:]]


def _same(a: Rows, b: Rows) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
