"""Slices of the built-in model in several workers, against the whole model."""

import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.engine.messages import TextPrompt
from app.core.kernel.events import EventBus
from app.core.kernel.generation import CompletionRequest, Sampling, TextDelta
from app.core.kernel.window import Window
from app.core.models.library import Library

TOKENS = 12
PROMPT = "<|im_start|>user\nWhat are you?<|im_end|>\n<|im_start|>assistant\n"


async def pipeline(engine: Engine, windows: list[Window], prompt: tuple[int, ...]) -> tuple[int, ...]:
    """Greedy tokens from a chain of windows, prefill in two chunks."""
    chosen: list[int] = []
    position = 0
    inputs = [np.array(prompt[:3], dtype=np.int32), np.array(prompt[3:], dtype=np.int32)]
    while len(chosen) < TOKENS:
        rows = inputs.pop(0)
        wanted = 0 if inputs else 1
        state = rows
        for index, window in enumerate(windows):
            hidden = await engine.forward(
                "guide",
                window,
                sequence=5,
                position=position,
                inputs=state,
                wanted=wanted if index == len(windows) - 1 else len(rows),
            )
            state = hidden.array()
        position += len(rows)
        if wanted:
            chosen.append(int(state[-1].argmax()))
            inputs = [np.array(chosen[-1:], dtype=np.int32)]
    for window in windows:
        engine.end_sequence("guide", window, sequence=5)
    return tuple(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(0, 4, 8), (0, 3, 6, 8)])
async def test_a_chain_of_slices_says_what_the_whole_model_says(
    guide_model: Path, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    bus = EventBus(lambda error: pytest.fail(str(error)))
    async with (
        Library(root=tmp_path / "models", bus=bus, shard_size_mb=64, max_disk_mb=0) as library,
        Engine(
            limits=EngineLimits(threads=1),
            bus=bus,
            worker_command=[sys.executable, "-m", "app", "worker"],
            clock=time.monotonic,
        ) as engine,
    ):
        entry = await library.import_file(guide_model)
        prompt = await engine.tokenize("whole", await library.window(entry.id), TextPrompt(text=PROMPT))
        windows = []
        for first, last in pairwise(cuts):
            window = await library.window(
                entry.id, first, last, embedding=first == 0, head=last == entry.n_layers
            )
            await engine.load("guide", window)
            windows.append(window)
        tokens = await pipeline(engine, windows, prompt)
        assert (await engine.stats())[-1].pulse is not None

        request = CompletionRequest(
            model="whole",
            prompt=prompt,
            sampling=Sampling(temperature=0.0, max_tokens=TOKENS, logprobs=0),
        )
        stream = engine.complete("whole", await library.window(entry.id), request)
        texts = [chunk async for chunk in stream if isinstance(chunk, TextDelta)]
        assert tokens == tuple(logprob.token for text in texts for logprob in text.logprobs)
