"""Estimates the memory that running a model takes, term by term, so that the arithmetic can be shown.

Pure. Calibrated against the buffers that llama.cpp reports on the CPU, with flash attention (its default):
`tests/core/models/test_fits.py` compares them.
"""

from typing import Final

import msgspec

from app.core.kernel.units import human_bytes
from app.core.models.manifest import ModelFacts

CONTEXT_STEP: Final = 256
WORKER_BYTES: Final = 70 << 20


class MemoryTerm(msgspec.Struct, frozen=True):
    """One part of an estimate; `arithmetic` shows how `size` bytes came about."""

    name: str
    size: int
    arithmetic: str


class MemoryEstimate(msgspec.Struct, frozen=True):
    """What a model needs in memory, in bytes."""

    terms: tuple[MemoryTerm, ...]
    total: int

    def sentence(self, available: int) -> str:
        """Whether the model fits into `available` bytes, with the figures."""
        parts = " + ".join(f"{term.name} {human_bytes(term.size)}" for term in self.terms)
        verdict = "fits into" if self.total <= available else "does not fit into"
        return f"{parts} = {human_bytes(self.total)}, which {verdict} {human_bytes(available)}."


def estimate_memory(
    facts: ModelFacts,
    *,
    weight_bytes: int,
    context: int,
    slots: int = 1,
    batch: int = 512,
    cache_value_bytes: float = 2.0,
    full_window: bool = True,
) -> MemoryEstimate:
    """Memory for `slots` sequences of `context` tokens each, prompts processed `batch` tokens at a time.

    `cache_value_bytes` is 2 for the f16 cache, 1.0625 for q8_0. `full_window` False says that layers with
    a sliding window keep that window only.
    """
    terms = (
        MemoryTerm("weights", weight_bytes, "the shards, mapped from disk"),
        _cache(facts, context, slots, batch, cache_value_bytes, full_window=full_window),
        _state(facts, slots),
        _compute(facts, context, slots, batch),
        MemoryTerm("worker process", WORKER_BYTES, "Python and llama.cpp themselves"),
    )
    kept = tuple(term for term in terms if term.size)
    return MemoryEstimate(kept, sum(term.size for term in kept))


def _cache(
    facts: ModelFacts, context: int, slots: int, batch: int, value_bytes: float, *, full_window: bool
) -> MemoryTerm:
    per_head = facts.key_length + facts.value_length
    full, windowed = 0, 0
    for heads, recurrent, window in zip(facts.n_head_kv, facts.recurrent, facts.windowed, strict=True):
        if not recurrent:
            full += 0 if window and not full_window else heads
            windowed += heads if window and not full_window else 0
    cells = _rounded(context)
    seen = min(cells, _rounded(facts.sliding_window + batch))
    size = int((full * cells + windowed * seen) * per_head * value_bytes * slots)
    arithmetic = f"{full} heads x {cells} tokens x {per_head} values x {value_bytes:g} B x {slots} slots"
    if windowed:
        arithmetic += f", and {windowed} heads x {seen} tokens likewise"
    return MemoryTerm("KV cache", size, arithmetic)


def _state(facts: ModelFacts, slots: int) -> MemoryTerm:
    layers = sum(facts.recurrent)
    size = layers * facts.recurrent_bytes * slots
    return MemoryTerm("recurrent state", size, f"{layers} layers x {facts.recurrent_bytes} B x {slots} slots")


def _compute(facts: ModelFacts, context: int, slots: int, batch: int) -> MemoryTerm:
    tokens = min(batch, context * slots)
    experts = max(1, facts.n_expert_used)
    layer = 3 * facts.n_ff * experts + 2 * facts.n_embd
    widest = max(facts.n_vocab, layer) + 2 * facts.n_embd
    mask = _rounded(context) * tokens * 2
    size = 4 * tokens * widest + mask
    arithmetic = f"{tokens} tokens x {widest} values x 4 B + {mask} B of attention mask"
    return MemoryTerm("compute buffers", size, arithmetic)


def _rounded(context: int) -> int:
    return -(-context // CONTEXT_STEP) * CONTEXT_STEP
