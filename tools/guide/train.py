"""Trains the guide from the written text and writes ``resources/guide.gguf``.

``python -m tools.guide.train`` does everything: dialogues, tokenizer, training, export. The number of steps
is fixed, so a busy machine gives the same model as a free one, only later.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from tools.guide import dataset, export, tokens
from tools.guide.corpus import Corpus, Dialogue, render
from tools.guide.network import Guide, Shape
from tools.guide.optimise import Optimiser, Stage

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Plan:
    """All that decides the result, besides the text."""

    stages: tuple[Stage, ...] = (
        Stage(400, 1400, warm=60),
        Stage(172, 500, peak=0.8),
        Stage(130, 130, peak=0.5925, warm=1, fresh=False),
        Stage(100, 100, peak=0.4, warm=1, fresh=False),
        Stage(80, 80, peak=0.4, warm=1, fresh=False),
        Stage(260, 260, peak=0.5, warm=30),
    )
    dialogues: int = 110_000
    rows: int = 8
    length: int = 384
    dropout: float = 0.0
    seed: int = 1


def learn_tokenizer(dialogues: list[Dialogue], size: int) -> Tokenizer:
    """Learn the tokenizer from the first dialogues, without their ChatML marks."""
    texts = ("".join(piece for piece, _ in render(dialogue)) for dialogue in dialogues[:20_000])
    return tokens.learn((re.sub(r"<\|im_\w+\|>", "", text) for text in texts), size)


def attention_mask(document: Tensor) -> Tensor:
    """A token sees the earlier ones of its own dialogue."""
    length = document.shape[1]
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & torch.ones(length, length, dtype=torch.bool).tril()


def loss_of(model: Guide, ids: Tensor, targets: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """The weighted mean of the cross entropy."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids, mask)
    losses = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


class Trainer:
    """Runs the stages one after another, with a checkpoint after each."""

    def __init__(self, model: Guide, data: dataset.Tokens, plan: Plan, work: Path) -> None:
        self._model, self._plan, self._work = model, plan, work
        self._optimiser: Optimiser | None = None
        self._compiled = torch.compile(loss_of)
        order = np.random.default_rng(plan.seed)
        self._source = dataset.batches(data, rows=plan.rows, length=plan.length, rng=order)

    def run(self, first: int = 0) -> None:
        """Train; ``first`` is the stage to begin with, when the ones before it are already done."""
        for number, stage in enumerate(self._plan.stages):
            checkpoint = self._work / f"stage{number}.pt"
            if number < first:
                self._skip(stage, checkpoint)
                continue
            self._run_stage(stage)
            torch.save(self._model.state_dict(), checkpoint)

    def _skip(self, stage: Stage, checkpoint: Path) -> None:
        """Take the result of a stage, and pass over the batches that it saw."""
        self._model.load_state_dict(torch.load(checkpoint))
        for _ in range(stage.steps):
            next(self._source)

    def _run_stage(self, stage: Stage) -> None:
        optimiser = self._optimiser_for(stage)
        began, average = time.monotonic(), 0.0
        for step in range(stage.steps):
            loss = self._loss(next(self._source))
            loss.backward()
            optimiser.step(step)
            average = loss.item() if step == 0 else 0.95 * average + 0.05 * loss.item()
            if (step + 1) % 50 == 0:
                seconds = time.monotonic() - began
                print(f"step {step + 1} loss {average:.4f} seconds {seconds:.0f}", flush=True)

    def _optimiser_for(self, stage: Stage) -> Optimiser:
        if stage.fresh or self._optimiser is None:
            self._optimiser = Optimiser(self._model, stage)
        self._optimiser.stage = stage
        return self._optimiser

    def _loss(self, batch: dataset.Batch) -> Tensor:
        ids, targets = torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)
        mask = attention_mask(torch.from_numpy(batch.document))
        return self._compiled(self._model, ids, targets, torch.from_numpy(batch.weights), mask)


def prepare(plan: Plan, shape: Shape, work: Path) -> tuple[Tokenizer, dataset.Tokens]:
    """Make the dialogues, the tokenizer and the tokens."""
    corpus = Corpus(plan.seed)
    dialogues = list(corpus.dialogues(plan.dialogues))
    tokenizer = learn_tokenizer(dialogues, shape.vocabulary)
    tokenizer.save(str(work / "tokenizer.json"))
    trie = dataset.AnswerTrie(corpus.answers(), tokenizer)
    data = dataset.tokenise(dialogues, trie, tokenizer, random.Random(plan.seed))
    print(f"{len(corpus.intents)} intents, {len(data)} dialogues, {len(data.ids)} tokens", flush=True)
    return tokenizer, data


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--first-stage", type=int, default=0, help="go on after an interruption")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "guide", help="checkpoints")
    parser.add_argument("--out", type=Path, default=ROOT / "resources" / "guide.gguf")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    plan = Plan()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(plan.seed)
    shape = Shape()
    tokenizer, data = prepare(plan, shape, options.work)
    model = Guide(shape, plan.dropout)
    Trainer(model, data, plan, options.work).run(options.first_stage)
    torch.save(model.state_dict(), options.work / "guide.pt")
    export.write(model, tokenizer, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
