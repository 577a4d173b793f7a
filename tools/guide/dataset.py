"""Dialogues as tokens, with a weight for each that says how much the model should learn from it.

Reciting an answer is easy; choosing it is what the model is for. So the tokens at which the known answers
part from each other weigh ten times as much as the recital between, and most answers are cut off soon after
the last such token: more questions for the same time. With equal weights the same model recites perfectly
and answers at random, and its loss does not show it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from tools.guide.corpus import Dialogue, render
from tools.guide.tokens import TURN_END

USER, BRANCH, RECITAL, UNKNOWN = 0.05, 5.0, 0.5, 1.0
CUT_SHARE, KEPT_AFTER_CUT = 0.85, 2


@dataclass(frozen=True)
class Tokens:
    """All dialogues in one row, their weights, and where each begins."""

    ids: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1


class AnswerTrie:
    """Knows at which tokens the answers part."""

    def __init__(self, answers: Iterable[str], tokenizer: Tokenizer) -> None:
        self._next: dict[tuple[int, ...], set[int]] = {}
        for answer in answers:
            ids = tokenizer.encode(answer + TURN_END).ids
            for at, token in enumerate(ids):
                self._next.setdefault(tuple(ids[:at]), set()).add(token)

    def weights(self, ids: list[int]) -> list[float]:
        """A weight for each token of an answer."""
        return [self._weight(tuple(ids[:at])) for at in range(len(ids))]

    def _weight(self, before: tuple[int, ...]) -> float:
        choices = self._next.get(before)
        if choices is None:
            return UNKNOWN
        return BRANCH if len(choices) > 1 else RECITAL


def tokenise(
    dialogues: Iterable[Dialogue], trie: AnswerTrie, tokenizer: Tokenizer, rng: random.Random
) -> Tokens:
    """Encode the dialogues, weigh their tokens and cut most of the last answers."""
    rendered = [render(dialogue) for dialogue in dialogues]
    encoded = iter(tokenizer.encode_batch([piece for pieces in rendered for piece, _ in pieces]))
    ids: list[int] = []
    weights: list[float] = []
    starts = [0]
    for pieces in rendered:
        cut_last = rng.random() < CUT_SHARE
        for at, (_, is_answer) in enumerate(pieces):
            new = next(encoded).ids
            mine = trie.weights(new) if is_answer else [USER] * len(new)
            if is_answer and cut_last and at == len(pieces) - 2 and BRANCH in mine:
                end = len(mine) - mine[::-1].index(BRANCH) + KEPT_AFTER_CUT
                ids += new[:end]
                weights += mine[:end]
                next(encoded)
                break
            ids += new
            weights += mine
        starts.append(len(ids))
    return Tokens(np.array(ids, np.int32), np.array(weights, np.float32), np.array(starts))


@dataclass(frozen=True)
class Batch:
    """Rows of packed dialogues; ``document`` numbers them within a row, 0 is padding."""

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    document: np.ndarray


def batches(tokens: Tokens, *, rows: int, length: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Endless batches, each dialogue once per round, in a new order every round."""
    ready: list[list[int]] = []
    while True:
        for row in _packed(tokens, length, rng):
            ready.append(row)
            if len(ready) == rows:
                yield _batch(tokens, ready, length)
                ready = []


def _packed(tokens: Tokens, length: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """First fit into a few open rows; the fullest is given out when there are too many."""
    sizes = np.diff(tokens.starts)
    open_rows: list[tuple[int, list[int]]] = []
    for document in rng.permutation(len(tokens)):
        size = int(sizes[document])
        if size > length:
            continue
        for at, (used, members) in enumerate(open_rows):
            if used + size <= length:
                members.append(document)
                open_rows[at] = (used + size, members)
                break
        else:
            open_rows.append((size, [document]))
        if len(open_rows) > 64:
            open_rows.sort(key=lambda row: row[0])
            yield open_rows.pop()[1]


def _batch(tokens: Tokens, members: list[list[int]], length: int) -> Batch:
    shape = (len(members), length + 1)
    ids, document, weights = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for y, row in enumerate(members):
        x = 0
        for number, index in enumerate(row, 1):
            start, end = tokens.starts[index], tokens.starts[index + 1]
            here = slice(x, x + end - start)
            ids[y, here], weights[y, here], document[y, here] = (
                tokens.ids[start:end],
                tokens.weights[start:end],
                number,
            )
            weights[y, x] = 0  # the first token of a dialogue follows from nothing
            x += end - start
    return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:], document[:, :-1])
