"""Which stored sequence state serves a prompt best, and which state makes room for another. Pure.

Prompts are cut into blocks of 64 tokens; a block's key is the BLAKE3 hash of the key before it and its
token ids, so that equal keys mean equal prefixes and can be compared between nodes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

BLOCK: Final = 64
State = TypeVar("State")
Tokens = NDArray[np.int32]


def block_keys(tokens: Tokens) -> list[bytes]:
    """Keys of the whole blocks of `tokens`, 32 bytes each."""
    keys: list[bytes] = []
    key = b""
    raw = np.ascontiguousarray(tokens, "<i4").tobytes()
    for start in range(0, len(tokens) // BLOCK * BLOCK * 4, BLOCK * 4):
        key = blake3(key + raw[start : start + BLOCK * 4]).digest()
        keys.append(key)
    return keys


def common_length(a: Tokens, b: Tokens) -> int:
    """How many tokens `a` and `b` begin with in common."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


@dataclass(frozen=True, eq=False)
class Entry(Generic[State]):
    """The state of a sequence that holds exactly `tokens`."""

    tokens: Tokens
    keys: tuple[bytes, ...]
    state: State
    size: int


@dataclass(frozen=True)
class Match(Generic[State]):
    """Import `entry`, then keep the first `keep` tokens of it."""

    entry: Entry[State]
    keep: int


class PrefixIndex(Generic[State]):
    """At most `limit` bytes of states, the least recently used dropped first.

    `exact` tells whether a state can be cut at any token; if not, entries serve only as a whole.
    """

    def __init__(self, *, limit: int, exact: bool) -> None:
        self._limit = limit
        self._exact = exact
        self._entries: OrderedDict[int, Entry[State]] = OrderedDict()
        self._by_key: dict[bytes, set[int]] = {}
        self._number = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tokens: Tokens) -> Match[State] | None:
        """The entry that spares most of `tokens`; at least one token is always left to be computed."""
        best: tuple[int, int] | None = None
        keys = block_keys(tokens)
        for depth in range(len(keys), 0, -1):
            if best is not None and best[0] >= (depth + 1) * BLOCK:
                break
            for number in self._by_key.get(keys[depth - 1], ()):
                keep = self._usable(self._entries[number], tokens)
                if keep >= BLOCK and (best is None or keep > best[0]):
                    best = (keep, number)
        if best is None:
            return None
        self._entries.move_to_end(best[1])
        return Match(self._entries[best[1]], best[0])

    def add(self, tokens: Tokens, state: State, size: int) -> bool:
        """Stores `state`; False where it is too small or too large to be worth it."""
        if not self.accepts(tokens, size):
            return False
        entry = Entry(tokens.copy(), tuple(block_keys(tokens)), state, size)
        for number in list(self._covered(entry)):
            self._drop(number)
        while self.bytes + size > self._limit:
            self._drop(next(iter(self._entries)))
        self._number += 1
        self._entries[self._number] = entry
        self.bytes += size
        for key in entry.keys:
            self._by_key.setdefault(key, set()).add(self._number)
        return True

    def accepts(self, tokens: Tokens, size: int) -> bool:
        return len(tokens) >= BLOCK and 0 < size <= self._limit

    def remove(self, entry: Entry[State]) -> None:
        """Drops an entry that turned out to be unusable."""
        for number, known in self._entries.items():
            if known is entry:
                self._drop(number)
                return

    def covers(self, tokens: Tokens) -> bool:
        """Whether an entry already holds all of `tokens` (and maybe more, where states can be cut)."""
        keys = block_keys(tokens)
        for number in self._by_key.get(keys[-1], ()) if keys else ():
            held = self._entries[number].tokens
            if common_length(held, tokens) == len(tokens) and (self._exact or len(held) == len(tokens)):
                return True
        return False

    def _usable(self, entry: Entry[State], tokens: Tokens) -> int:
        common = common_length(entry.tokens, tokens)
        if self._exact:
            return min(common, len(tokens) - 1)
        return common if common == len(entry.tokens) < len(tokens) else 0

    def _covered(self, entry: Entry[State]) -> Iterator[int]:
        """Entries that `entry` makes superfluous."""
        for number, known in self._entries.items():
            if len(known.tokens) > len(entry.tokens) or (
                not self._exact and len(known.tokens) != len(entry.tokens)
            ):
                continue
            if common_length(known.tokens, entry.tokens) == len(known.tokens):
                yield number

    def _drop(self, number: int) -> None:
        entry = self._entries.pop(number)
        self.bytes -= entry.size
        for key in entry.keys:
            numbers = self._by_key[key]
            numbers.discard(number)
            if not numbers:
                del self._by_key[key]
