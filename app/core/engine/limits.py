"""What workers may use, and how much of it a model gets: pure planning from sizes."""

import math
from typing import Final

import msgspec

from app.core.kernel.errors import OutOfMemory
from app.core.kernel.units import GIB, MIB, human_bytes

MIN_CONTEXT: Final = 512
CONTEXT_STEP: Final = 256
KV_BYTES_PER_LAYER_TOKEN: Final = 4096
"""Keys and values of 8 heads of 128 in f16: the common grouped-query shape; an estimate for planning."""
WORKER_OVERHEAD: Final = 192 * MIB
"""A worker's interpreter, libraries and compute buffers."""
MEMORY_RESERVE: Final = 512 * MIB
"""Left to the rest of the machine."""
STALL_MODEL: Final = 8 * GIB
"""Models up to this size are granted `stall_seconds`, larger ones in proportion more."""
KV_SHARE: Final = 0.5
PREFIX_SHARE: Final = 0.25


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that the user sets. 0 means "decide by what is free" unless said otherwise.

    `max_memory` bytes may be used by all workers together. `max_loaded` models may be loaded at once.
    `context_tokens` per slot, `slots` per worker. `gpu_layers` -1 means all that fit. `idle_seconds`
    after its last request a worker is ended; 0 keeps it. A worker that shows no life for
    `stall_seconds` while it has work is killed, as is one that makes no progress in loading.
    `queue_pieces` of an answer may wait for a slow consumer before they are put together.
    """

    max_memory: int = 0
    max_loaded: int = 0
    context_tokens: int = 4096
    slots: int = 8
    batch_tokens: int = 512
    prefill_chunk: int = 128
    threads: int = 0
    gpu_layers: int = 0
    prefix_cache_bytes: int = 512 * MIB
    idle_seconds: float = 0.0
    stall_seconds: float = 120.0
    queue_pieces: int = 64


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a model will be loaded. `memory_bytes` is the estimate that eviction works with."""

    context_tokens: int
    slots: int
    prefix_cache_bytes: int
    memory_bytes: int


def kv_bytes(layers: int, tokens: int) -> int:
    """Estimate of the KV cache of `tokens` positions in `layers` layers."""
    return layers * tokens * KV_BYTES_PER_LAYER_TOKEN


def least_bytes(model_bytes: int, layers: int) -> int:
    """Memory without which loading is not tried: the files, one slot of the shortest context, a worker."""
    return model_bytes + kv_bytes(layers, MIN_CONTEXT) + WORKER_OVERHEAD


def plan_load(limits: EngineLimits, *, model_bytes: int, layers: int, free_bytes: int) -> Plan:
    """Context, slots and prefix cache for a model of `model_bytes` with `layers` in its window.

    Slots are given up before context is. Raises OutOfMemory if even the least does not fit into
    `free_bytes`.
    """
    least = least_bytes(model_bytes, layers)
    if least > free_bytes:
        raise OutOfMemory(
            f"The model needs about {human_bytes(least)} of memory, but only "
            f"{human_bytes(max(0, free_bytes))} are free."
        )
    spare = free_bytes - model_bytes - WORKER_OVERHEAD
    tokens = int(max(spare * KV_SHARE, kv_bytes(layers, MIN_CONTEXT))) // kv_bytes(layers, 1)
    slots = max(1, min(limits.slots, tokens // max(1, limits.context_tokens)))
    context = min(limits.context_tokens, tokens // slots)
    if context >= CONTEXT_STEP:
        context = context // CONTEXT_STEP * CONTEXT_STEP
    prefix = min(limits.prefix_cache_bytes, int(spare * PREFIX_SHARE))
    used = model_bytes + WORKER_OVERHEAD + kv_bytes(layers, slots * context)
    return Plan(context_tokens=context, slots=slots, prefix_cache_bytes=prefix, memory_bytes=used)


def usable_memory(limits: EngineLimits, *, available_bytes: int, used_by_workers: int) -> int:
    """What a further worker may take: what the system has available and the user's bound leaves."""
    free = available_bytes - MEMORY_RESERVE if available_bytes > 2 * GIB else available_bytes * 3 // 4
    if limits.max_memory:
        free = min(free, limits.max_memory - used_by_workers)
    return free


def thread_bound(limits: EngineLimits, *, cores: int) -> int:
    """The most threads that a worker gets."""
    return max(1, min(limits.threads, cores) if limits.threads else cores)


def seconds_between_pings(limits: EngineLimits) -> float:
    """Pings are due often enough to notice a stall not much later than it may last."""
    return min(5.0, max(0.05, math.floor(limits.stall_seconds * 100 / 4) / 100))


def stall_allowance(limits: EngineLimits, *, model_bytes: int) -> float:
    """Seconds without a sign of life that a worker is granted: a tick of a very large model takes long."""
    return limits.stall_seconds * max(1.0, model_bytes / STALL_MODEL)
