"""llama.cpp's sampler chains."""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.lib import L

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """The array a chain works on, shared by all chains of a worker. Filled from a row of logits."""

    def __init__(self, n_vocab: int) -> None:
        self._array = np.zeros(n_vocab, _CANDIDATE)
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._struct = L.llama_token_data_array()
        self._pointer = ctypes.cast(self._array.ctypes.data, ctypes.POINTER(L.llama_token_data))
        self.reference = ctypes.byref(self._struct)

    def fill(self, logits: NDArray[np.float32]) -> None:
        self._array["id"] = self._ids
        self._array["logit"] = logits
        self._reset(len(self._array))

    def fill_one(self, token: int, logit: float) -> None:
        self._array[0] = (token, logit, 0.0)
        self._reset(1)

    def _reset(self, size: int) -> None:
        self._struct.data = self._pointer
        self._struct.size = size
        self._struct.selected = -1
        self._struct.sorted = False

    def any_left(self) -> bool:
        """Whether a candidate was not ruled out."""
        return bool(np.isfinite(self._array["logit"][: self._struct.size]).any())

    def selected(self) -> int:
        """The token the chain chose."""
        index = self._struct.selected
        if not 0 <= index < self._struct.size:
            raise RuntimeError("the sampler chain chose no token")
        return int(self._struct.data[index].id)


class Chain:
    """A `llama_sampler` chain; add samplers in the order in which they apply."""

    def __init__(self) -> None:
        self._pointer: Any = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())

    def close(self) -> None:
        if self._pointer:
            L.llama_sampler_free(self._pointer)
            self._pointer = None

    def logit_bias(self, n_vocab: int, biases: Mapping[int, float]) -> None:
        entries = (L.llama_logit_bias * len(biases))(*(L.llama_logit_bias(t, b) for t, b in biases.items()))
        self._add(L.llama_sampler_init_logit_bias(n_vocab, len(biases), entries))

    def penalties(
        self, n_vocab: int, last_n: int, *, repeat: float = 1.0, frequency: float = 0.0, presence: float = 0.0
    ) -> Any:
        """Penalises what was accepted among the last `last_n` tokens. Answers the sampler, so that `remember`
        can feed it alone."""
        sampler = L.llama_sampler_init_penalties(n_vocab, last_n, repeat, frequency, presence)
        self._add(sampler)
        return sampler

    def top_k(self, k: int) -> None:
        self._add(L.llama_sampler_init_top_k(k))

    def typical(self, p: float) -> None:
        self._add(L.llama_sampler_init_typical(p, 1))

    def top_p(self, p: float) -> None:
        self._add(L.llama_sampler_init_top_p(p, 1))

    def min_p(self, p: float) -> None:
        self._add(L.llama_sampler_init_min_p(p, 1))

    def temperature(self, t: float) -> None:
        self._add(L.llama_sampler_init_temp(t))

    def greedy(self) -> None:
        self._add(L.llama_sampler_init_greedy())

    def random(self, seed: int) -> None:
        self._add(L.llama_sampler_init_dist(seed))

    def _add(self, sampler: Any) -> None:
        L.llama_sampler_chain_add(self._pointer, sampler)

    def apply(self, candidates: Candidates) -> None:
        L.llama_sampler_apply(self._pointer, candidates.reference)

    def accept(self, token: int) -> None:
        L.llama_sampler_accept(self._pointer, token)

    @staticmethod
    def remember(sampler: Any, tokens: NDArray[np.int32]) -> None:
        for token in tokens.tolist():
            L.llama_sampler_accept(sampler, token)


class GrammarSampler:
    """A compiled GBNF grammar and how far an answer has got in it."""

    def __init__(self, vocab: int, gbnf: str) -> None:
        """Raises ValueError where llama.cpp refuses the grammar."""
        self._pointer: Any = L.llama_sampler_init_grammar(vocab, gbnf.encode(), b"root")
        if not self._pointer:
            raise ValueError("llama.cpp refused the grammar")

    def close(self) -> None:
        if self._pointer:
            L.llama_sampler_free(self._pointer)
            self._pointer = None

    def allows(self, token: int, scratch: Candidates) -> bool:
        scratch.fill_one(token, 0.0)
        self.apply(scratch)
        return scratch.any_left()

    def apply(self, candidates: Candidates) -> None:
        """Rules out (-inf) what the grammar does not allow next."""
        L.llama_sampler_apply(self._pointer, candidates.reference)

    def accept(self, token: int) -> None:
        """`token` must be allowed: llama.cpp ends the process otherwise."""
        L.llama_sampler_accept(self._pointer, token)
