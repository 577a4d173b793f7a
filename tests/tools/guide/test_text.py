"""The written text: its format, and that every part of it can be used."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tools.guide import text
from tools.guide.noise import Noise, typo
from tools.guide.phrases import Phrasebook, expand, is_held_out


def write(folder: Path, content: str) -> Path:
    (folder / "some.txt").write_text(content, encoding="utf-8")
    return folder


def test_an_intent_is_read_with_its_phrases_and_answers(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        "# a comment\n== ports\ndo open a port\nask which {port|ports}\nanswer One.\\nTwo.\nmore Three.\n",
    )
    intent = text.load_intents(folder)["ports"]
    assert intent.phrases == {"do": ["open a port"], "ask": ["which {port|ports}"]}
    assert (intent.answer, intent.more) == ("One.\nTwo.", "Three.")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("do something\n", "before the first section"),
        ("== a\nsay hello\nanswer A.\n", "unknown mark"),
        ("== a\nanswer A.\n", "phrases"),
        ("== a\nask b\n", "an answer"),
        ("== a\nask b\nanswer A.\n== a\nask c\nanswer B.\n", "twice"),
    ],
)
def test_mistakes_in_the_text_are_named(tmp_path: Path, content: str, complaint: str) -> None:
    with pytest.raises(text.TextError, match=complaint):
        text.load_intents(write(tmp_path, content))


def test_an_intent_knows_its_topic_and_system() -> None:
    intent = text.Intent("install-mac")
    assert (intent.topic, intent.system) == ("install", "mac")
    assert text.Intent("install").system is None


def test_a_bar_inside_a_choice_does_not_end_a_word(tmp_path: Path) -> None:
    path = tmp_path / "lists.txt"
    path.write_text("== os\nmy {red|blue} pc|linux\n", encoding="utf-8")
    assert text.load_lists(path) == {"os": ["my {red|blue} pc", "linux"]}


def test_every_intent_is_described_for_other_authors() -> None:
    assert set(text.load_intents()) == set(text.load_described()) | {text.REFUSE}


def test_no_two_intents_share_an_answer() -> None:
    answers = [intent.answer for intent in text.load_intents().values()]
    assert len(set(answers)) == len(answers)


def test_every_system_intent_has_a_topic() -> None:
    intents = text.load_intents()
    assert all(intent.topic in intents for intent in intents.values() if intent.system)


def test_every_list_that_is_named_exists() -> None:
    lists = set(text.load_lists()) | {"madeup", "system"}
    folder = text.TEXT
    written = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.txt"))
    phrases = re.sub(r"^(#|answer|more).*$", "", written, flags=re.MULTILINE)
    assert set(re.findall(r"<([a-z]+)>", phrases)) - lists <= {"person"}


def test_every_frame_has_one_place_for_the_phrase() -> None:
    frames = text.load_frames()
    assert set(frames) == {"do", "thing", "trouble", "that"}
    assert all("*" in frame for group in frames.values() for frame in group)


def test_choices_nest_and_lists_are_filled() -> None:
    drawn = {expand("{a|{b|<x>}} c", {"x": ["d"]}, random.Random(seed)) for seed in range(40)}
    assert drawn == {"a c", "b c", "d c"}


def test_training_and_evaluation_never_draw_the_same_question() -> None:
    phrases = text.load_intents()["ports"].phrases
    for held_out in (False, True):
        book = Phrasebook(
            frames=text.load_frames(), lists=text.load_lists(), rng=random.Random(3), held_out=held_out
        )
        assert all(is_held_out(book.question(phrases)) is held_out for _ in range(200))


def test_a_typo_changes_one_long_word_only() -> None:
    for seed in range(50):
        changed = typo("is my node online", random.Random(seed))
        assert changed.startswith("is my ")
        assert abs(len(changed) - len("is my node online")) <= 1


def test_noise_replaces_whole_words_only() -> None:
    noise = Noise(
        synonyms=[["disk", "drive"]], lists={"open": ["hi,"], "close": [", please"]}, rng=random.Random(1)
    )
    assert all("driveette" not in noise("a diskette").lower() for _ in range(200))
