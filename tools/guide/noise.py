"""Makes a clean question look like one somebody typed: other words, fillers, slips, no care for case.

The model knows no English but what it is trained on, so this is where it learns which words may stand for
each other and which parts of a sentence say nothing about the question.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

LONG_WORD = re.compile(r"[A-Za-z]{4,}")
FILLER_TEXT = (
    "how do i can to the a an is are my me of it please what does in on you with for this that be will so "
    "there i'm and if could would should want need some any"
)
FILLERS = frozenset(FILLER_TEXT.split())
BESIDE_TEXT = "sqz vn xvd sfe wrd dgc fhv gjb uok hkn jli kop nk bm ipl ol wa et ad ry yi cb qes zc tu xa"
NEIGHBOURS = dict(zip("abcdefghijklmnopqrstuvwxyz", BESIDE_TEXT.split(), strict=True))


@dataclass(frozen=True)
class Rates:
    """How often each kind of noise is applied."""

    synonym: float = 0.45
    each_word: float = 0.4
    keywords: float = 0.08
    drop: float = 0.14
    opening: float = 0.28
    closing: float = 0.24
    typo: float = 0.24


def typo(text: str, rng: random.Random) -> str:
    """One slip in one longer word: a letter lost, swapped, doubled or hit beside."""
    words = list(LONG_WORD.finditer(text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start(), word.end() - 1)
    kind = rng.random()
    if kind < 0.35:
        return text[:at] + text[at + 1 :]
    if kind < 0.65:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.8:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice(NEIGHBOURS.get(text[at].lower(), "e")) + text[at + 1 :]


def finish(text: str, rng: random.Random) -> str:
    """Case and closing sign, as careless as people are."""
    case = rng.random()
    if case < 0.45:
        text = text[:1].upper() + text[1:]
    elif case < 0.47:
        text = text.upper()
    if rng.random() < 0.5:
        text = re.sub(r"\bi\b", "I", text)
    if rng.random() < 0.1:
        text = text.replace("'", "")
    return text + rng.choice(["?", "?", "?", "", "", "", ".", " ?", "!", "??", "..."])


class Noise:
    """Applies the noise; all draws come from the one generator it is given."""

    def __init__(
        self,
        *,
        synonyms: list[list[str]],
        lists: dict[str, list[str]],
        rng: random.Random,
        rates: Rates | None = None,
    ) -> None:
        self._rng, self._rates = rng, rates or Rates()
        self._open, self._close = lists["open"], lists["close"]
        self._others: dict[str, list[str]] = {}
        for group in synonyms:
            for word in group:
                self._others.setdefault(word, []).extend(other for other in group if other != word)
        known = sorted(map(re.escape, self._others), key=lambda word: (-len(word), word))
        self._known = re.compile(r"(?<![\w-])(" + "|".join(known) + r")(?![\w-])")

    def __call__(self, question: str) -> str:
        rng, rates = self._rng, self._rates
        if rng.random() < rates.synonym:
            question = self._known.sub(self._other, question)
        if rng.random() < rates.keywords:
            question = self._keywords(question)
        elif rng.random() < rates.drop:
            question = self._without_a_word(question)
        if rng.random() < rates.opening:
            question = f"{rng.choice(self._open)} {question}"
        if rng.random() < rates.closing:
            closing = rng.choice(self._close)
            question += closing if closing[0] in ",." else f" {closing}"
        if rng.random() < rates.typo:
            for _ in range(rng.choice([1, 1, 1, 2])):
                question = typo(question, rng)
        return finish(question, rng)

    def _other(self, match: re.Match[str]) -> str:
        return (
            self._rng.choice(self._others[match[0]])
            if self._rng.random() < self._rates.each_word
            else match[0]
        )

    def _keywords(self, question: str) -> str:
        """Only the words that matter, as typed into a search box, sometimes in another order."""
        words = [word for word in re.findall(r"[^\s,:]+", question) if word not in FILLERS]
        if len(words) < 2:
            return question
        if self._rng.random() < 0.3:
            self._rng.shuffle(words)
        return " ".join(words)

    def _without_a_word(self, question: str) -> str:
        words = question.split()
        if len(words) > 3:
            words.pop(self._rng.randrange(len(words)))
        return " ".join(words)
