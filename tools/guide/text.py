"""Reads the written text: what people ask, and what the guide answers.

The format is made for writing much, quickly. An intent opens with ``== name``; below it each line has a
one-word mark. ``do``, ``thing``, ``trouble`` and ``that`` hold bare phrases, which the frames of
``frames.txt`` turn into whole questions; ``ask`` holds whole questions; ``answer`` holds what is said.
``{a|b}`` is a choice, ``<name>`` one of a list of ``lists.txt``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

TEXT = Path(__file__).parent / "text"
PHRASES = ("do", "thing", "trouble", "that", "ask")
SYSTEMS = ("windows", "linux", "mac")
REFUSE = "refuse"
BETWEEN_WORDS = re.compile(r"\|(?![^{]*\})")  # a bar that is not inside a choice


class TextError(ValueError):
    """A line of the written text does not follow the format."""


@dataclass
class Intent:
    """One thing that can be asked, with its phrases by mark and its answers."""

    name: str
    phrases: dict[str, list[str]] = field(default_factory=dict)
    answer: str = ""
    more: str = ""

    @property
    def system(self) -> str | None:
        """The operating system this intent is about, when its name ends in one."""
        tail = self.name.rpartition("-")[2]
        return tail if tail in SYSTEMS else None

    @property
    def topic(self) -> str:
        """The name without the operating system."""
        return self.name.rpartition("-")[0] if self.system else self.name


def _sections(path: Path) -> dict[str, list[str]]:
    """Split a file into its ``== name`` sections, without comments and empty lines."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            name = line[3:]
            if name in found:
                raise TextError(f"{path.name}:{number}: {name} is there twice")
            lines = found.setdefault(name, [])
        elif lines is None:
            raise TextError(f"{path.name}:{number}: text before the first section")
        else:
            lines.append(line)
    return found


def _intent(name: str, lines: list[str]) -> Intent:
    """Sort the lines of one section by their marks."""
    intent = Intent(name)
    for line in lines:
        mark, _, rest = line.partition(" ")
        if mark in PHRASES:
            intent.phrases.setdefault(mark, []).append(rest)
        elif mark == "answer":
            intent.answer = rest.replace("\\n", "\n")
        elif mark == "more":
            intent.more = rest.replace("\\n", "\n")
        else:
            raise TextError(f"{name}: unknown mark {mark!r}")
    return intent


def load_intents(folder: Path = TEXT / "intents") -> dict[str, Intent]:
    """All intents of all files, in the order of the files' names; later files may add phrases."""
    intents: dict[str, Intent] = {}
    for path in sorted(folder.glob("*.txt")):
        for name, lines in _sections(path).items():
            added = _intent(name, lines)
            if name in intents:
                _add(intents[name], added)
            else:
                intents[name] = added
    for intent in intents.values():
        if not intent.answer or not (intent.phrases or intent.system):
            raise TextError(f"{intent.name}: needs an answer and, unless it is about one system, phrases")
    return intents


def _add(intent: Intent, added: Intent) -> None:
    if added.answer:
        raise TextError(f"{intent.name}: is answered twice")
    for mark, phrases in added.phrases.items():
        intent.phrases.setdefault(mark, []).extend(phrases)


def load_frames(path: Path = TEXT / "frames.txt") -> dict[str, list[str]]:
    """Question frames by mark; each has one ``*`` where the phrase goes."""
    return _sections(path)


def load_lists(path: Path = TEXT / "lists.txt") -> dict[str, list[str]]:
    """Named word lists; a line may hold several words, separated by ``|``."""
    return {
        name: [word.strip() for line in lines for word in BETWEEN_WORDS.split(line)]
        for name, lines in _sections(path).items()
    }


def load_follow_ups(path: Path = TEXT / "follow_ups.txt") -> dict[str, list[str]]:
    """What is said after an answer: ``more``, ``repeat`` and ``system``."""
    return _sections(path)


def load_synonyms(path: Path = TEXT / "synonyms.txt") -> list[list[str]]:
    """Groups of words that may stand for each other in a question."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("|") for line in map(str.strip, lines) if line and not line.startswith("#")]


def load_described(path: Path = TEXT / "intents.md") -> dict[str, str]:
    """Names and descriptions that authors of evaluation questions work from."""
    found = re.findall(r"^([a-z0-9-]+) - (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)
