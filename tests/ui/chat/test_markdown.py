"""Splitting answers into prose and code."""

from hypothesis import given
from hypothesis import strategies as st

from app.ui.chat.markdown import PIECE, Segment, segments


def test_prose_and_code_alternate() -> None:
    text = "Look:\n\n```python\nprint(1)\n```\n\nDone."
    assert segments(text) == [Segment("Look:\n"), Segment("print(1)", "python"), Segment("\nDone.")]


def test_an_open_fence_is_code_to_the_end() -> None:
    assert segments("```\na\nb") == [Segment("a\nb", "")]


def test_a_shorter_fence_inside_a_longer_one_is_code() -> None:
    assert segments("````md\n```\nx\n```\n````") == [Segment("```\nx\n```", "md")]


def test_tildes_fence_too_and_backticks_do_not_close_them() -> None:
    assert segments("~~~sh\n```\n~~~\nafter") == [Segment("```", "sh"), Segment("after")]


def test_an_indented_fence_loses_its_indent() -> None:
    assert segments("  ```c\n  int x;\n    y\n  ```") == [Segment("int x;\n  y", "c")]


def test_inline_code_is_prose() -> None:
    assert segments("use ```x``` here") == [Segment("use ```x``` here")]


def test_nothing_gives_nothing() -> None:
    assert segments("") == []
    assert segments(" \n\n ") == []


def test_long_prose_is_cut_before_paragraphs_but_never_inside_a_list() -> None:
    paragraph = "word " * 80
    text = "\n\n".join([paragraph] * 10 + ["- a", "- b", "tail"])
    pieces = segments(text)
    assert len(pieces) > 2
    assert "\n".join(piece.text for piece in pieces) == text
    assert all(len(piece.text) < PIECE + 2 * len(paragraph) for piece in pieces)
    assert any("- a\n\n- b" in piece.text for piece in pieces)


@given(st.lists(st.sampled_from(["a b", "", "```", "```py", "~~~", "- x", "    y", "| t |"]), max_size=40))
def test_no_line_of_prose_or_code_is_lost(lines: list[str]) -> None:
    kept = [line for part in segments("\n".join(lines)) for line in part.text.split("\n")]
    for word in ("a b", "- x", "| t |"):
        assert sum(word in line for line in kept) == lines.count(word)


@given(st.text(alphabet="`~a\n -", max_size=80))
def test_growing_text_changes_no_finished_segment(text: str) -> None:
    for cut in range(len(text)):
        early, late = segments(text[:cut]), segments(text[: cut + 1])
        assert early[:-2] == late[: max(0, len(early) - 2)]
