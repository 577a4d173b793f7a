"""Splits an answer into prose and code, cheaply enough to be done for every redraw of a growing answer.

Prose is cut into pieces at blank lines where Markdown allows it, so that a long answer lays out only its
last piece again. A cut is made only before a line that starts a new top-level block.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PIECE = 1500
_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$")
_CONTINUES = re.compile(r"^(?:\s|[-*+>|]|\d+[.)]\s|=)")


@dataclass(frozen=True)
class Segment:
    """`language` is None for prose, and "" for code of no stated language."""

    text: str
    language: str | None = None


def segments(markdown: str) -> list[Segment]:
    """The parts of `markdown` in order; a fence that is still open counts as code to the end."""
    found: list[Segment] = []
    prose: list[str] = []
    lines = iter(markdown.split("\n"))
    for line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            prose.append(line)
            continue
        found.extend(_pieces(prose))
        prose = []
        found.append(Segment("\n".join(_code(lines, fence)), fence.group(3)))
    found.extend(_pieces(prose))
    return found


def _code(lines: Iterator[str], fence: re.Match[str]) -> list[str]:
    indent, mark = len(fence.group(1)), fence.group(2)
    closing = re.compile(rf"^ {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
    code = []
    for line in lines:
        if closing.match(line):
            break
        code.append(line[indent:] if line[:indent].isspace() else line)
    return code


def _pieces(lines: list[str]) -> list[Segment]:
    pieces: list[Segment] = []
    current: list[str] = []
    length = 0
    for position, line in enumerate(lines):
        starts_block = position > 0 and not lines[position - 1].strip() and not _CONTINUES.match(line)
        if length > PIECE and starts_block and line.strip():
            pieces.append(Segment("\n".join(current)))
            current, length = [], 0
        current.append(line)
        length += len(line) + 1
    if any(line.strip() for line in current):
        pieces.append(Segment("\n".join(current)))
    return pieces
