"""Asks the finished guide, in llama.cpp, and counts right answers.

``python -m tools.guide.evaluate`` prints two sets. The first are combinations of the training phrases that
training never drew. The second are freely worded questions by an author who never saw the training text
(``tests/tools/guide/wordings.toml``); only those tell how the guide fares with people.
"""

from __future__ import annotations

import argparse
import difflib
import random
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.guide.corpus import Corpus, Dialogue, Turn, render
from tools.guide.noise import Rates
from tools.guide.text import REFUSE

ROOT = Path(__file__).parents[2]
CLEAN = Rates(synonym=0, keywords=0, drop=0, opening=0, closing=0, typo=0)
TYPED = Rates()


@dataclass(frozen=True)
class Case:
    """One question to ask, what was said before it, and the answer it should get."""

    kind: str
    before: list[Turn]
    question: str
    answer: str


@dataclass(frozen=True)
class Reply:
    """What the guide said, and the product of its token probabilities."""

    text: str
    sure: float


@dataclass
class Score:
    """Counts of one kind of question."""

    asked: int = 0
    right: int = 0
    refused: int = 0
    verbatim: int = 0
    sure: list[tuple[float, bool]] = field(default_factory=list)


class Guide:
    """The GGUF in llama.cpp, greedy."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import llama_cpp

        self._lib = llama_cpp
        self._model = llama_cpp.Llama(str(path), n_ctx=1024, n_threads=threads, verbose=False)
        self._ends = (0, self._model.token_eos())

    def reply(self, before: Iterable[Turn], question: str, limit: int = 200) -> Reply:
        """The greedy answer to a question after some turns."""
        dialogue = Dialogue([*before, Turn(question, "", "")])
        prompt = "".join(piece for piece, _ in render(dialogue)[:-2])
        ids = self._model.tokenize(prompt.encode(), add_bos=False, special=True)
        self._model.reset()
        self._model.eval(ids)
        said: list[int] = []
        unsure = 0.0
        while len(said) < limit:
            logits = self._logits()
            token = int(logits.argmax())
            unsure += float(np.log(np.exp(logits - logits[token]).sum()))
            if token in self._ends:
                break
            said.append(token)
            self._model.eval([token])
        return Reply(self._model.detokenize(said).decode("utf-8", "replace"), float(np.exp(-unsure)))

    def _logits(self) -> np.ndarray:
        row = self._lib.llama_get_logits_ith(self._model._ctx.ctx, -1)
        return np.ctypeslib.as_array(row, (self._model.n_vocab(),))


def held_out_cases(per_intent: int) -> list[Case]:
    """Unseen combinations: plain, as typed, and follow-ups."""
    cases: list[Case] = []
    for kind, rates, seed in (("combination", CLEAN, 11), ("combination, typed", TYPED, 12)):
        corpus = Corpus(seed, held_out=True, rates=rates)
        for name in corpus.intents:
            count = per_intent * 20 if name == REFUSE else per_intent
            label = f"refusal{kind.removeprefix('combination')}" if name == REFUSE else kind
            turns = [corpus.turn(name) for _ in range(count)]
            cases += [Case(label, [], turn.question, turn.answer) for turn in turns]
    return cases + _follow_up_cases(Corpus(13, held_out=True, rates=CLEAN))


def _follow_up_cases(corpus: Corpus) -> list[Case]:
    cases: list[Case] = []
    rng = random.Random(14)
    names = list(corpus.intents)
    for name, intent in corpus.intents.items():
        for system in corpus.systems_of(name) if not intent.system else ():
            first = corpus.turn(name)
            then = corpus.follow_up("system", first, system)
            cases.append(Case("follow-up on system", [first], then.question, then.answer))
        if intent.more:
            first = corpus.turn(name)
            then = corpus.follow_up("more", first)
            cases.append(Case("follow-up for more", [first], then.question, then.answer))
    for _ in range(40):
        first, then = corpus.turn(rng.choice(names)), corpus.turn(rng.choice(names))
        cases.append(Case("unrelated second turn", [first], then.question, then.answer))
    return cases


def worded_cases(path: Path) -> list[Case]:
    """The questions of the other author."""
    intents = Corpus(1).intents
    questions = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    return [
        Case(f"worded, {kind_of(entry['intent'])}", [], entry["text"], intents[entry["intent"]].answer)
        for entry in questions
    ]


def kind_of(intent: str) -> str:
    return "to refuse" if intent == REFUSE else "to answer"


def judge(guide: Guide, cases: list[Case]) -> dict[str, Score]:
    """Ask everything; an answer counts for the known answer it is nearest to."""
    known = Corpus(1).answers()
    refusal = next(answer for answer, name in known.items() if name == REFUSE)
    scores: dict[str, Score] = {}
    for case in cases:
        score = scores.setdefault(case.kind, Score())
        reply = guide.reply(case.before, case.question)
        near = reply.text if reply.text in known else _nearest(reply.text, known)
        right = near == case.answer
        score.asked += 1
        score.right += right
        score.verbatim += reply.text in known
        score.refused += near == refusal != case.answer
        score.sure.append((reply.sure, right))
    return scores


def _nearest(said: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(said, known, 1, 0.6)), "")


def show(scores: dict[str, Score]) -> None:
    """Print a line for each kind, then what answering only when sure would give."""
    for kind, score in scores.items():
        n = score.asked
        print(
            f"{kind:26} n {n:4}  right {score.right / n:.3f}  wrongly refused {score.refused / n:.3f}"
            f"  verbatim {score.verbatim / n:.3f}"
        )
        for threshold in (0.3, 0.5, 0.7, 0.9):
            kept = [right for sure, right in score.sure if sure >= threshold]
            share, correct = len(kept) / n, sum(kept) / max(1, len(kept))
            print(f"    sure >= {threshold}: answers {share:.2f}, of which right {correct:.3f}")


def show_worded(scores: dict[str, Score]) -> None:
    """The same, and the two kinds together."""
    show(scores)
    asked, right = (sum(getattr(score, name) for score in scores.values()) for name in ("asked", "right"))
    print(f"worded, all: {right} of {asked}, {right / asked:.3f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "resources" / "guide.gguf")
    parser.add_argument("--wordings", type=Path, default=ROOT / "tests" / "tools" / "guide" / "wordings.toml")
    parser.add_argument("--per-intent", type=int, default=3)
    parser.add_argument("--only", choices=("combinations", "worded"))
    parser.add_argument("--ask", help="ask this one question instead")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    guide = Guide(options.model)
    if options.ask:
        reply = guide.reply([], options.ask)
        print(f"{reply.text}\n({reply.sure:.2f})")
        return
    began = time.monotonic()
    if options.only != "worded":
        show(judge(guide, held_out_cases(options.per_intent)))
    if options.only != "combinations":
        show_worded(judge(guide, worded_cases(options.wordings)))
    print(f"{time.monotonic() - began:.0f} seconds, {options.model.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
