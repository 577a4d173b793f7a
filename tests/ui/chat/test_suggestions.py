"""Suggested questions."""

from pathlib import Path

import pytest

from app.ui.chat.suggestions import load_suggestions


def test_questions_are_read_in_order(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text('["One?", "", 5, "Two?"]', encoding="utf-8")
    assert load_suggestions(file) == ("One?", "Two?")


def test_a_missing_file_means_none(tmp_path: Path) -> None:
    assert load_suggestions(tmp_path / "none.json") == ()


@pytest.mark.parametrize("content", ["{", "{}", '"x"'])
def test_a_wrong_file_means_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "s.json"
    file.write_text(content, encoding="utf-8")
    assert load_suggestions(file) == ()
