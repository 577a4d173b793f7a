"""A context: the KV cache or recurrent state of several sequences, and the compute buffers of a batch."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.lib import L, address_function
from app.core.engine.worker.llama.model import Model
from app.core.kernel.errors import OutOfMemory

_logits_of = address_function("llama_get_logits_ith", ctypes.c_void_p, ctypes.c_int32)
_embedding_of = address_function("llama_get_embeddings_seq", ctypes.c_void_p, ctypes.c_int32)
_state_get = address_function(
    "llama_state_seq_get_data", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32
)
_state_set = address_function(
    "llama_state_seq_set_data", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32
)
_state_get.restype = _state_set.restype = ctypes.c_size_t
_MAX_VIEWS = 256


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """`tokens` is for all `sequences` together, an equal share each (a common pool for embeddings).

    `outputs` bounds the rows of a batch whose logits are read. `pooling` is one of llama.cpp's
    LLAMA_POOLING_TYPE numbers and makes an embedding context.
    """

    tokens: int
    sequences: int
    batch: int
    outputs: int
    threads: int
    pooling: int | None = None
    capture: Callable[..., bool] | None = None


class Context:
    """One `llama_context` over `model`. The model must outlive it."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        """Allocates the cache and the compute buffers. Raises OutOfMemory."""
        self._options = options
        self.pointer: int = L.llama_init_from_model(model.pointer, _params(options)) or 0
        if not self.pointer:
            raise OutOfMemory(
                f"There is not enough memory for a context of {options.tokens} tokens "
                f"({options.sequences} sequences)."
            )
        self._memory: int | None = L.llama_get_memory(self.pointer)
        self._row_type = ctypes.c_float * model.n_vocab
        self._views: dict[int, NDArray[np.float32]] = {}

    def close(self) -> None:
        if self.pointer:
            L.llama_free(self.pointer)
            self.pointer = 0

    @property
    def has_memory(self) -> bool:
        """Whether sequences are kept between decodes; encoders such as BERT keep none."""
        return bool(self._memory)

    def set_threads(self, *, decode: int, prefill: int) -> None:
        L.llama_set_n_threads(self.pointer, decode, prefill)

    def decode(self, batch: Batch) -> int:
        """Runs the batch; 0 on success, else llama_decode's code (1: no room in the cache)."""
        return int(L.llama_decode(self.pointer, batch.sealed()))

    def logits(self, row: int) -> NDArray[np.float32]:
        """A view [n_vocab] of the logits of batch row `row`, valid until the next decode."""
        address = _logits_of(self.pointer, row)
        if not address:
            raise RuntimeError(f"llama.cpp has no logits for row {row}")
        view = self._views.get(address)
        if view is None:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            view = self._views[address] = np.ctypeslib.as_array(self._row_type.from_address(address))
        return view

    def embedding(self, sequence: int, width: int) -> NDArray[np.float32]:
        """A copy [width] of the pooled embedding of `sequence` after a decode."""
        address = _embedding_of(self.pointer, sequence)
        if not address:
            raise RuntimeError(f"llama.cpp has no embedding for sequence {sequence}")
        return np.ctypeslib.as_array((ctypes.c_float * width).from_address(address)).copy()

    # --- sequences ---

    def clear(self) -> None:
        if self._memory:
            L.llama_memory_clear(self._memory, False)

    def remove(self, sequence: int, start: int = -1) -> bool:
        """Forgets `sequence` from position `start` on (-1: all of it). False where that is impossible."""
        return not self._memory or bool(L.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def first_position(self, sequence: int) -> int:
        """The lowest position still held, -1 for an empty sequence."""
        return int(L.llama_memory_seq_pos_min(self._memory, sequence)) if self._memory else -1

    def last_position(self, sequence: int) -> int:
        return int(L.llama_memory_seq_pos_max(self._memory, sequence)) if self._memory else -1

    def state_size(self, sequence: int) -> int:
        """Bytes that `export_state` would take."""
        return int(L.llama_state_seq_get_size(self.pointer, sequence))

    def export_state(self, sequence: int) -> NDArray[np.uint8]:
        """The whole state of `sequence`, as `import_state` takes it; empty where there is none."""
        size = self.state_size(sequence)
        state = np.empty(size, np.uint8)
        written = int(_state_get(self.pointer, state.ctypes.data, size, sequence))
        return state[:written]

    def import_state(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Replaces `sequence` by an exported state; False (and an empty sequence) where it does not fit."""
        if _state_set(self.pointer, state.ctypes.data, len(state), sequence) == len(state):
            return True
        self.remove(sequence)
        return False


def _params(options: ContextOptions) -> Any:
    params = L.llama_context_default_params()
    params.n_ctx = options.tokens
    params.n_batch = params.n_ubatch = options.batch
    params.n_seq_max = options.sequences
    params.n_outputs_max = options.outputs
    params.n_outputs_max_per_seq = options.outputs
    params.n_threads = params.n_threads_batch = options.threads
    params.no_perf = True
    # A buffer per sequence: with one for all, every row's attention runs over the cells of all sequences,
    # which cost eight streams of the TinyLlama shape 30 to 40 % at 256 tokens each. The price: only rows of
    # consecutive sequence numbers share a pass, so callers keep numbers low and batches sorted by them.
    params.kv_unified = options.pooling is not None
    if options.pooling is not None:
        params.embeddings = True
        params.pooling_type = options.pooling
    if options.capture is not None:
        params.cb_eval = options.capture
    return params
