"""A `llama_batch` whose arrays are numpy's, so that a tick fills slices instead of ctypes elements."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.lib import L


class Batch:
    """Room for `capacity` rows of token ids, or of float32 vectors of `width` where `width` is given.

    `position_rows` is 4 where vectors carry M-RoPE positions (p, p, p, 0), laid out as 4 runs of n.
    """

    def __init__(self, capacity: int, *, width: int = 0, position_rows: int = 1) -> None:
        self.capacity = capacity
        self.size = 0
        self._position_rows = position_rows
        self.tokens = np.zeros(capacity, np.int32)
        self.vectors = np.zeros((capacity if width else 0, width), np.float32)
        self._positions = np.zeros(capacity, np.int32)
        self._rope_positions = np.zeros(capacity * position_rows, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._sequence_counts = np.ones(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        step = self._sequences.itemsize
        first = self._sequences.ctypes.data
        self._sequence_pointers = np.arange(first, first + capacity * step, step, dtype=np.uintp)
        self.struct = self._make_struct(width)

    def _make_struct(self, width: int) -> Any:
        batch = L.llama_batch()
        kinds = dict(batch._fields_)

        def point(field: str, array: NDArray[np.generic]) -> None:
            setattr(batch, field, ctypes.cast(array.ctypes.data, kinds[field]))

        if width:
            point("embd", self.vectors)
        else:
            point("token", self.tokens)
        point("pos", self._positions if self._position_rows == 1 else self._rope_positions)
        point("n_seq_id", self._sequence_counts)
        point("seq_id", self._sequence_pointers)
        point("logits", self._outputs)
        return batch

    def clear(self) -> None:
        self.size = 0

    @property
    def room(self) -> int:
        return self.capacity - self.size

    def add(self, token: int, position: int, sequence: int) -> int:
        """One decoding row whose logits are wanted; answers its index."""
        i = self.size
        self.tokens[i] = token
        self._positions[i] = position
        self._sequences[i] = sequence
        self._outputs[i] = 1
        self.size = i + 1
        return i

    def extend(self, tokens: NDArray[np.int32], position: int, sequence: int, *, wanted: int) -> int:
        """A run of tokens; logits of the last `wanted` rows are wanted. Answers the index behind the run."""
        first, end = self.size, self.size + len(tokens)
        self.tokens[first:end] = tokens
        return self._run(first, end, position, sequence, wanted)

    def extend_vectors(self, rows: NDArray[np.float32], position: int, sequence: int, *, wanted: int) -> int:
        """Like `extend`, for hidden states [rows, width]."""
        first, end = self.size, self.size + len(rows)
        self.vectors[first:end] = rows
        return self._run(first, end, position, sequence, wanted)

    def _run(self, first: int, end: int, position: int, sequence: int, wanted: int) -> int:
        self._positions[first:end] = np.arange(position, position + end - first, dtype=np.int32)
        self._sequences[first:end] = sequence
        self._outputs[first:end] = 0
        self._outputs[end - wanted : end] = 1
        self.size = end
        return end

    def sealed(self) -> Any:
        """The C struct, ready for llama_decode."""
        n = self.size
        self.struct.n_tokens = n
        if self._position_rows > 1:
            rows = self._rope_positions[: n * self._position_rows].reshape(self._position_rows, n)
            rows[:3] = self._positions[:n]
            rows[3:] = 0
        return self.struct
