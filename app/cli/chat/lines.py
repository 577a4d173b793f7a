"""Reads a person's lines, with editing and recall where the platform has readline."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_RECALLED = 1000

if sys.platform == "win32":
    # The console itself edits and recalls lines there.
    readline = None
else:
    import readline


class LineInput:
    """Iterates over the lines that are typed; recalled lines are kept in `file`, mode 0600."""

    def __init__(self, file: Path, *, prompt: str = "> ") -> None:
        self._file = file
        self._prompt = prompt

    def __enter__(self) -> Self:
        if readline is not None:
            readline.set_history_length(MAX_RECALLED)
            with contextlib.suppress(OSError):
                readline.read_history_file(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if readline is not None:
            # A history that cannot be kept is no reason to fail at the end of a chat.
            with contextlib.suppress(OSError):
                os.close(os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600))
                readline.write_history_file(self._file)

    def __iter__(self) -> Iterator[str]:
        """Ends at Ctrl-D; Ctrl-C drops the line that is being typed."""
        while True:
            try:
                line = input(self._prompt).strip()
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                continue
            if line:
                yield line
