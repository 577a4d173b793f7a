"""Puts questions and answers together into dialogues: what the model is trained and evaluated on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.guide import text
from tools.guide.noise import Noise, Rates
from tools.guide.phrases import Phrasebook, is_held_out
from tools.guide.text import REFUSE, SYSTEMS, Intent

NO_MORE = "That is all I know about it. The documentation of SwarmLLM has more."
SAME_ANYWHERE = "That works the same on Windows, Linux and macOS."
SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are the built-in guide of SwarmLLM.",
    "Answer briefly.",
    "You are a helpful, honest assistant. Keep your answers short.",
    "You are a chat model that runs on a SwarmLLM node.",
    "You are an assistant for the users of SwarmLLM. Be polite.",
)
SYSTEM_PLACES = (
    "{0} on {1}", "{0} on {1}", "{0} on {1}", "{0} for {1}", "{0} {1}", "{1}: {0}", "on {1} {0}",
    "on {1}, {0}", "{0}, {1}", "i use {1}, {0}", "i have {1}, {0}", "i am on {1}, {0}", "{0} with {1}",
    "{0} under {1}", "{0} when i use {1}", "{0}, i have {1}", "{0} if the computer is {1}", "{1} {0}",
    "{0} using {1}",
)  # fmt: skip
SYLLABLE_TEXT = (
    "ba be bi bo bu da de do du fa fi fo ga go gri ka ki ko la le lo lu ma mi mo na ne no nu pa pe plo pri "
    "ra re ro sa se si sto ta te tri tu va vo wi xa yo za zu"
)
SYLLABLES = SYLLABLE_TEXT.split()


@dataclass
class Turn:
    """One question with its right answer; ``intent`` is empty for what only makes sense as a follow-up."""

    question: str
    answer: str
    intent: str


@dataclass
class Dialogue:
    """An optional system message and some turns."""

    turns: list[Turn] = field(default_factory=list)
    system: str = ""


def render(dialogue: Dialogue) -> list[tuple[str, bool]]:
    """The ChatML text in pieces, each with whether it is an answer."""
    pieces: list[tuple[str, bool]] = []
    if dialogue.system:
        pieces.append((f"<|im_start|>system\n{dialogue.system}<|im_end|>\n", False))
    for turn in dialogue.turns:
        pieces.append((f"<|im_start|>user\n{turn.question}<|im_end|>\n<|im_start|>assistant\n", False))
        pieces.append((f"{turn.answer}<|im_end|>", True))
        pieces.append(("\n", False))
    return pieces


def made_up_words(rng: random.Random, count: int) -> list[str]:
    """Words that mean nothing, so that the model learns to decline what it has never heard of."""
    return ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))) for _ in range(count)]


class Corpus:
    """Draws dialogues; the same seed gives the same ones."""

    def __init__(self, seed: int, *, held_out: bool = False, rates: Rates | None = None) -> None:
        self._rng = random.Random(seed)
        self._held_out = held_out
        self.intents = text.load_intents()
        self._follow_ups = text.load_follow_ups()
        lists = text.load_lists()
        lists["madeup"] = made_up_words(random.Random(99 + held_out), 2000)
        self._noise = Noise(synonyms=text.load_synonyms(), lists=lists, rng=self._rng, rates=rates)
        self._book = Phrasebook(frames=text.load_frames(), lists=lists, rng=self._rng, held_out=held_out)
        common = [intent for intent in self.intents.values() if intent.name not in (REFUSE, "gibberish")]
        # The intents about one system share their phrases, so each is drawn half as often as the others.
        self._common = [intent.name for intent in common for _ in range(1 if intent.system else 2)]

    def answers(self) -> dict[str, str]:
        """Every answer the guide may give, with the intent it belongs to ("" for pure follow-ups)."""
        known = {intent.more: "" for intent in self.intents.values() if intent.more}
        known |= {NO_MORE: "", SAME_ANYWHERE: ""}
        return known | {intent.answer: intent.name for intent in self.intents.values()}

    def dialogues(self, count: int) -> Iterator[Dialogue]:
        """That many dialogues for the training, most of them of one turn."""
        for _ in range(count):
            yield self.dialogue(self._rng.choices((1, 2, 3), (0.84, 0.12, 0.04))[0])

    def dialogue(self, turns: int) -> Dialogue:
        """One dialogue of that many turns."""
        made = Dialogue(system=self._rng.choice(SYSTEM_MESSAGES) if self._rng.random() < 0.15 else "")
        for _ in range(turns):
            last = made.turns[-1] if made.turns else None
            made.turns.append(self._following(last) if last else self.turn(self._draw_name()))
        return made

    def turn(self, name: str, *, noisy: bool = True) -> Turn:
        """One question of this intent, as somebody could type it, and its answer."""
        intent = self.intents[name]
        question = self._about_system(intent) if intent.system else self._book.question(intent.phrases)
        if noisy and name != "gibberish":
            question = self._noise(question)
        return Turn(question, intent.answer, name)

    def follow_up(self, kind: str, last: Turn, system: str = "") -> Turn:
        """Something that refers to the last answer: more of it, the same again, the same elsewhere."""
        question = self._book.fill(
            self._rng.choice(self._follow_ups[kind]).replace("<system>", f"<{system}>")
        )
        return Turn(self._noise(question), *self._follow_up_answer(kind, last, system))

    def systems_of(self, name: str) -> list[str]:
        """The operating systems for which this intent's topic has answers of their own."""
        topic = self.intents[name].topic if name in self.intents else name
        return [system for system in SYSTEMS if f"{topic}-{system}" in self.intents]

    def _draw_name(self) -> str:
        kind = self._rng.random()
        if kind < 0.15:
            return REFUSE
        return "gibberish" if kind < 0.165 else self._rng.choice(self._common)

    def _about_system(self, intent: Intent) -> str:
        if intent.phrases and self._rng.random() < 0.3:
            return self._book.question(intent.phrases)
        question = self._book.question(self.intents[intent.topic].phrases)
        return self._rng.choice(SYSTEM_PLACES).format(question, self._book.fill(f"<{intent.system}>"))

    def _following(self, last: Turn) -> Turn:
        kind = self._rng.random()
        if kind < 0.15 and last.intent and last.intent != REFUSE:
            return self.follow_up("more", last)
        if kind < 0.2:
            return self.follow_up("repeat", last)
        if last.intent and ((self.systems_of(last.intent) and kind < 0.7) or kind < 0.24):
            return self.follow_up("system", last, self._rng.choice(SYSTEMS))
        return self.turn(self._draw_name())

    def _follow_up_answer(self, kind: str, last: Turn, system: str) -> tuple[str, str]:
        if kind == "repeat":
            return last.answer, last.intent
        if kind == "more":
            more = self.intents[last.intent].more if last.intent else ""
            return more or NO_MORE, ""
        if not self.systems_of(last.intent):
            return SAME_ANYWHERE, last.intent
        name = f"{self.intents[last.intent].topic}-{system}"
        return self.intents[name].answer, name


__all__ = ["Corpus", "Dialogue", "Turn", "is_held_out", "render"]
