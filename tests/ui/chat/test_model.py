"""Chats as data."""

import pytest

from app.ui.chat.model import Chat, Turn, clean, matches, said, speed, title_from


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  What now? \nmore", "What now?"),
        ("", ""),
        ("word " * 30, ("word " * 12).strip() + "…"),
        ("x" * 80, "x" * 60 + "…"),
    ],
)
def test_the_title_is_the_first_line_cut_at_a_word(text: str, title: str) -> None:
    assert title_from(text) == title


def test_the_model_reads_no_question_that_stayed_without_answer() -> None:
    turns = [
        Turn(role="user", text="lost"),
        Turn(role="assistant", error="It failed."),
        Turn(role="user", text="again"),
        Turn(role="assistant", text="yes"),
        Turn(role="user", text="more"),
    ]
    assert [(part.role, part.content) for part in said(turns)] == [
        ("user", "again"),
        ("assistant", "yes"),
        ("user", "more"),
    ]


def test_search_wants_every_word_anywhere() -> None:
    turns = [Turn(role="user", text="Plant Trees")]
    chat = Chat(id="0" * 8, created=0, updated=0, title="Garden", turns=turns)
    assert matches(chat, "trees GARDEN")
    assert matches(chat, "  ")
    assert not matches(chat, "trees house")


def test_speed_is_known_only_with_tokens_and_time() -> None:
    assert speed(Turn(role="assistant", tokens=50, seconds=2)) == 25
    assert speed(Turn(role="assistant", tokens=50)) == 0


def test_lone_surrogates_become_replacement_characters() -> None:
    assert clean("a\ud800b") == "a�b"
    assert clean("\N{HONEYBEE} ok") == "\N{HONEYBEE} ok"
