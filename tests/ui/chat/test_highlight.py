"""Colours for code."""

from app.ui.chat.highlight import MAX_CHARACTERS, spans


def test_keywords_and_strings_get_colours_at_their_place() -> None:
    first, second = spans('def f():\n    return "x"', "python", "github-dark")
    assert (first[0].start, first[0].length) == (0, 3)
    assert (second[0].start, second[0].length) == (4, 6)
    assert {span.start for span in second} >= {4, 11}
    assert all(span.colour.startswith("#") for span in first + second)


def test_a_string_over_several_lines_is_coloured_on_each() -> None:
    lines = spans('x = """a\nb\nc"""', "python", "friendly")
    assert len(lines) == 3
    assert all(lines)


def test_positions_count_utf16_units() -> None:
    (line,) = spans('"\N{HONEYBEE}" # c', "python", "github-dark")
    assert max(span.start for span in line) == 5


def test_code_of_an_unknown_language_has_one_colour() -> None:
    (line,) = spans("def x", "no-such-language", "github-dark")
    assert [(span.start, span.length) for span in line] == [(0, 5)]


def test_huge_code_stays_plain() -> None:
    assert not any(spans("def f(): pass\n" * (MAX_CHARACTERS // 10), "python", "github-dark"))
