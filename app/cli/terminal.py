"""What is printed: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TextIO

_KEPT = frozenset("\n\t")


def say(text: str = "") -> None:
    """A line of the result."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line beside the result, for a person."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> None:
    note(f"swarmllm: {text}")


def say_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)


def harmless(text: str) -> str:
    """`text` without the control characters by which it could take over a terminal."""
    if text.isprintable():
        return text
    return "".join(sign for sign in text if sign.isprintable() or sign in _KEPT)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns that are as wide as their widest cell, two spaces apart."""
    cells = [list(head), *(list(map(harmless, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


class Progress:
    """A line on stderr that is rewritten while a step goes on; silent where stderr is no terminal."""

    def __init__(self, label: str, *, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def update(self, fraction: float, detail: str = "") -> None:
        """`fraction` runs from 0 to 1; `detail` stands behind it."""
        line = f"{self._label} {max(0.0, min(1.0, fraction)):4.0%} {detail}".rstrip()
        if line != self._shown and self._stream.isatty():
            self._stream.write(f"\r{line.ljust(len(self._shown))}")
            self._stream.flush()
            self._shown = line

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
