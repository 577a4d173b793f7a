"""Turns written phrases into single questions, and keeps some of them back for the evaluation."""

from __future__ import annotations

import hashlib
import random
import re

CHOICE = re.compile(r"\{([^{}]*)\}")
LIST = re.compile(r"<([a-z]+)>")
SPACES = re.compile(r"\s{2,}")
HELD_OUT_OF = 12


def expand(pattern: str, lists: dict[str, list[str]], rng: random.Random) -> str:
    """Draw one text from a pattern: lists first, then choices from the inside out."""
    while match := LIST.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(lists[match[1]]) + pattern[match.end() :]
    while match := CHOICE.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return SPACES.sub(" ", pattern).strip()


def is_held_out(question: str) -> bool:
    """Whether training must never see this exact question: about one in twelve, by its hash."""
    digest = hashlib.blake2s(question.lower().encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_OF == 0


class Phrasebook:
    """Draws questions from phrases and frames, from one side of the held-out split only."""

    def __init__(
        self, *, frames: dict[str, list[str]], lists: dict[str, list[str]], rng: random.Random, held_out: bool
    ) -> None:
        self._frames, self._lists, self._rng, self._held_out = frames, lists, rng, held_out

    def fill(self, pattern: str) -> str:
        """One text from a pattern, whichever side of the split it is on."""
        return expand(pattern, self._lists, self._rng)

    def question(self, phrases: dict[str, list[str]]) -> str:
        """One question from the phrases of an intent; lines that hold more are drawn more often."""
        lines = [(mark, phrase) for mark, group in phrases.items() for phrase in group]
        weights = [1 + phrase.count("|") / 4 for _, phrase in lines]
        for _ in range(200):
            drawn = self._framed(*self._rng.choices(lines, weights)[0])
            if is_held_out(drawn) == self._held_out:
                break
        return drawn

    def _framed(self, mark: str, phrase: str) -> str:
        if mark == "ask":
            return self.fill(phrase)
        frame = self._rng.choice(self._frames[mark])
        return self.fill(frame.replace("*", phrase))
