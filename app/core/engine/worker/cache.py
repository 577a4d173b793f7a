"""The prefix cache: sequence states of earlier prompts and answers, put back into a context.

A state is llama.cpp's own snapshot of one sequence, bit-identical when it is put back. It holds only the
attention window of models with a sliding window, and a recurrent state cannot be cut at all, so for
both a snapshot serves only prompts that contain all of it (`exact` False).
"""

import logging

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.context import Context
from app.core.engine.worker.prefix import BLOCK, PrefixIndex

log = logging.getLogger(__name__)

State = NDArray[np.uint8]
_SHARE = 32
"""A snapshot is worth taking once a 32nd of what it copies is new; copying then costs a few percent."""


class PrefixCache:
    """At most `limit` bytes of states of sequences of `context`."""

    def __init__(self, context: Context, *, limit: int, exact: bool) -> None:
        self._context = context
        self._index: PrefixIndex[State] = PrefixIndex(limit=limit, exact=exact)
        self._limit = limit
        self.exact = exact

    def __len__(self) -> int:
        return len(self._index)

    @property
    def bytes(self) -> int:
        return self._index.bytes

    def restore(self, sequence: int, tokens: NDArray[np.int32]) -> int:
        """Makes the empty `sequence` hold the longest known beginning of `tokens`; answers its length, which
        is below len(tokens)."""
        match = self._index.find(tokens) if self._limit else None
        if match is None:
            return 0
        held = len(match.entry.tokens)
        if not self._context.import_state(sequence, match.entry.state):
            log.debug("a snapshot of %d tokens does not fit into the cache now", held)
            return 0
        if match.keep < held and not self._context.remove(sequence, match.keep):
            self._context.remove(sequence)
            self._index.remove(match.entry)
            return 0
        return match.keep

    def worth_saving(self, length: int, saved: int) -> bool:
        """Whether a sequence of `length` tokens, `saved` of which are in a snapshot, merits another."""
        return self._limit > 0 and length >= BLOCK and length - saved >= max(BLOCK, length // _SHARE)

    def save(self, sequence: int, tokens: NDArray[np.int32]) -> State | None:
        """Stores what `sequence` holds, which is the state behind `tokens`; answers the state."""
        if self._index.covers(tokens):
            return None
        size = self._context.state_size(sequence)
        if not self._index.accepts(tokens, size):
            return None
        state = self._context.export_state(sequence)
        self._index.add(tokens, state, len(state))
        return state
