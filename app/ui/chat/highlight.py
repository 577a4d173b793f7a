"""Colours for code, from Pygments: pure, per line, in the units that Qt's text layout takes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pygments import lex as untyped_lex
from pygments.lexers import get_lexer_by_name as untyped_lexer
from pygments.styles import get_style_by_name as untyped_style
from pygments.util import ClassNotFound

MAX_CHARACTERS = 40_000

lex: Any = untyped_lex
get_lexer_by_name: Any = untyped_lexer
get_style_by_name: Any = untyped_style


@dataclass(frozen=True)
class Span:
    """`start` and `length` count UTF-16 units within one line; `colour` is `#rrggbb`."""

    start: int
    length: int
    colour: str


def spans(code: str, language: str, style: str) -> list[list[Span]]:
    """The coloured spans of each line of `code`. Code over `MAX_CHARACTERS` stays plain."""
    result: list[list[Span]] = [[] for _ in range(code.count("\n") + 1)]
    if len(code) > MAX_CHARACTERS:
        return result
    line = column = 0
    for kind, value in lex(code, _lexer(language)):
        for index, part in enumerate(value.split("\n")):
            if index:
                line, column = line + 1, 0
            width = _units(part)
            if line < len(result) and part.strip() and (colour := _colour(style, kind)):
                result[line].append(Span(column, width, colour))
            column += width
    return result


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    try:
        return get_lexer_by_name(language or "text", stripnl=False, ensurenl=False)
    except ClassNotFound:
        return get_lexer_by_name("text", stripnl=False, ensurenl=False)


@lru_cache(maxsize=512)
def _colour(style: str, kind: object) -> str:
    colour = get_style_by_name(style).style_for_token(kind)["color"]
    return f"#{colour}" if colour else ""
