"""From token bytes to text that may be shown: whole UTF-8 characters, and nothing that may yet be a stop.

Tokens cut text anywhere: in the middle of a character and in the middle of a stop sequence. What
could still become either is held back together with the tokens it came from.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Token = TypeVar("Token")


@dataclass(frozen=True, kw_only=True)
class Emitted(Generic[Token]):
    """Text that is final, with the tokens it took. `stop` is the sequence that ended the text, if one did."""

    text: str = ""
    tokens: tuple[Token, ...] = ()
    stop: str | None = None


@dataclass
class _Held(Generic[Token]):
    token: Token
    start: int


@dataclass
class TextStream(Generic[Token]):
    """One answer's text. `stops` are the sequences that end it; the first to be complete wins, and of those
    that are complete at the same character the longest, so that it does not matter how tokens cut the text.
    `Token` is whatever the caller wants back with its text."""

    stops: Sequence[str] = ()
    _held: list[_Held[Token]] = field(default_factory=list)
    _text: str = ""
    _given: int = 0

    def __post_init__(self) -> None:
        self.stops = tuple(stop for stop in self.stops if stop)
        self._longest = max((len(stop) for stop in self.stops), default=0)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes, token: Token) -> Emitted[Token] | None:
        """Adds one token's bytes. None while everything is held back."""
        self._held.append(_Held(token, self._given + len(self._text)))
        fresh = self._decoder.decode(piece)
        if not fresh:
            return None
        scanned = max(0, len(self._text) - self._longest + 1)
        self._text += fresh
        found = self._find(scanned)
        if found is not None:
            return self._stop(*found)
        return self._give(len(self._text) - self._possible_stop())

    def finish(self) -> Emitted[Token]:
        """What is still held back, when the answer ends otherwise than by a stop sequence."""
        self._text += self._decoder.decode(b"", final=True)
        rest = Emitted(text=self._text, tokens=tuple(held.token for held in self._held))
        self._given += len(self._text)
        self._text = ""
        self._held.clear()
        return rest

    def _find(self, start: int) -> tuple[int, str] | None:
        best: tuple[int, str] | None = None
        for stop in self.stops:
            at = self._text.find(stop, start)
            if at >= 0 and (best is None or (at + len(stop), at) < (best[0] + len(best[1]), best[0])):
                best = (at, stop)
        return best

    def _possible_stop(self) -> int:
        """Length of the longest end of the text that begins a stop sequence."""
        text = self._text
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self.stops):
                return length
        return 0

    def _stop(self, at: int, stop: str) -> Emitted[Token]:
        end = self._given + at
        kept = tuple(held.token for held in self._held if held.start < end)
        emitted = Emitted(text=self._text[:at], tokens=kept, stop=stop)
        self._given = end
        self._text = ""
        self._held.clear()
        return emitted

    def _give(self, length: int) -> Emitted[Token] | None:
        if length <= 0:
            return None
        text, self._text = self._text[:length], self._text[length:]
        self._given += length
        count = sum(held.start < self._given for held in self._held)
        tokens = tuple(held.token for held in self._held[:count])
        del self._held[:count]
        return Emitted(text=text, tokens=tokens)
