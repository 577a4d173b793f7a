"""Reads out of a model's metadata what the rest of the node needs to know of it."""

import math
from collections.abc import Sequence
from typing import Final

from app.core.kernel.errors import BadModelFile
from app.core.models.architectures import architecture_of
from app.core.models.gguf.metadata import Metadata
from app.core.models.gguf.source import GgufSource
from app.core.models.manifest import ModelFacts

MAX_LAYERS: Final = 4_096
MAX_WIDTH: Final = 1 << 20
MAX_COUNT: Final = 1 << 31


def read_facts(source: GgufSource) -> ModelFacts:
    """The facts of a model. Raises BadModelFile where they are missing or impossible."""
    metadata = source.metadata
    architecture = metadata.text("general.architecture")
    if not architecture or not architecture.isprintable() or len(architecture) > 64:
        raise BadModelFile("The file does not say which architecture its model has, so it is no model.")
    read = _Reader(metadata, architecture)
    blocks = read.number("block_count", MAX_LAYERS)
    extra = min(read.number("nextn_predict_layers", MAX_LAYERS), max(0, blocks - 1))
    n_layers, n_embd = blocks - extra, read.number("embedding_length", MAX_WIDTH)
    if n_embd == 0:
        raise BadModelFile("The file does not state the width of its model (embedding_length).")
    heads = read.per_layer("attention.head_count", n_layers)
    head_width = n_embd // max(heads) if any(heads) else 0
    by_name = {placed.tensor.name: placed.tensor for placed in source.tensors()}
    table = by_name.get("token_embd.weight")
    kv_heads = read.per_layer("attention.head_count_kv", n_layers) or heads or (0,) * n_layers
    feed_forward = read.per_layer("feed_forward_length", n_layers)
    return ModelFacts(
        architecture=architecture,
        n_layers=n_layers,
        n_extra_layers=extra,
        n_embd=n_embd,
        n_vocab=table.shape[1] if table is not None and len(table.shape) == 2 else read.vocabulary(),
        context_length=read.number("context_length", MAX_COUNT),
        n_head=max((*heads, 0)),
        n_head_kv=kv_heads,
        key_length=read.number("attention.key_length", MAX_WIDTH) or head_width,
        value_length=0
        if f"{architecture}.attention.key_length_mla" in metadata
        else read.number("attention.value_length", MAX_WIDTH) or head_width,
        windowed=windowed_layers(metadata, architecture, n_layers),
        recurrent=recurrent_layers(metadata, architecture, kv_heads, feed_forward),
        embedding_scale=embedding_scale(metadata, architecture, n_embd),
        recurrent_bytes=read.recurrent_bytes(n_embd),
        n_ff=max((0, *feed_forward)),
        n_expert=read.number("expert_count", MAX_COUNT),
        n_expert_used=read.number("expert_used_count", MAX_COUNT),
        sliding_window=read.number("attention.sliding_window", MAX_COUNT),
        n_params=sum(_elements(tensor.shape) for tensor in by_name.values()),
        tied_output="output.weight" not in by_name,
        rope_sections=any(metadata.array(f"{architecture}.rope.dimension_sections") or ()),
    )


def recurrent_layers(
    metadata: Metadata, architecture: str, kv_heads: Sequence[int], feed_forward: Sequence[int]
) -> tuple[bool, ...]:
    """Which layers keep a state of fixed size instead of a KV cache; one item per item of `kv_heads`."""
    n_layers = len(kv_heads)
    if architecture in {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}:
        return (True,) * n_layers
    stated = metadata.integers(f"{architecture}.attention.recurrent_layers", n_layers)
    if stated is not None:
        return tuple(bool(layer) for layer in stated)
    if architecture in {"qwen35", "qwen35moe", "qwen3next"}:
        interval = metadata.integer(f"{architecture}.full_attention_interval") or 4
        return tuple((layer + 1) % interval != 0 for layer in range(n_layers))
    if architecture in {"lfm2", "lfm2moe", "granitehybrid", "jamba"}:
        return tuple(heads == 0 for heads in kv_heads)
    if architecture in {"nemotron_h", "nemotron_h_moe"}:
        return tuple(heads == 0 and not width for heads, width in zip(kv_heads, feed_forward, strict=False))
    return (False,) * n_layers


def embedding_scale(metadata: Metadata, architecture: str, n_embd: int) -> float:
    """The factor of embedding rows; 1 where llama.cpp applies it to vectors as well."""
    rules = architecture_of(architecture)
    if rules.embedding_scale == "none" or rules.scales_vectors:
        return 1.0
    if rules.embedding_scale == "sqrt_width":
        return math.sqrt(n_embd)
    return metadata.number(f"{architecture}.embedding_scale") or rules.default_scale


def windowed_layers(metadata: Metadata, architecture: str, n_layers: int) -> tuple[bool, ...]:
    """Which layers attend to a sliding window only."""
    rules, key = architecture_of(architecture), f"{architecture}.attention.sliding_window"
    stated = metadata.integer(key)
    special = architecture == "exaone4" and n_layers == rules.count_to
    window = (4_096 if special else rules.default_window) if stated is None else stated
    pattern = f"{key}_pattern"
    if metadata.count(pattern) is not None:
        flags = metadata.integers(pattern, n_layers) or ()
        return tuple(bool(flag) for flag in flags)
    if not window or not rules.period:
        return (False,) * n_layers
    period = metadata.integer(pattern)
    period = rules.period if period is None else period
    return tuple(period == 0 or layer % period < period - 1 for layer in range(n_layers))


class _Reader:
    """Bounded access to the fields of one architecture."""

    def __init__(self, metadata: Metadata, architecture: str) -> None:
        self._metadata = metadata
        self._prefix = architecture + "."

    def number(self, key: str, limit: int) -> int:
        value = self._metadata.integer(self._prefix + key) or 0
        if not 0 <= value <= limit:
            raise BadModelFile(f"The GGUF field {self._prefix + key!r} has the impossible value {value}.")
        return value

    def per_layer(self, key: str, n_layers: int) -> tuple[int, ...]:
        values = self._metadata.integers(self._prefix + key, n_layers) or ()
        if any(not 0 <= value <= MAX_WIDTH for value in values):
            raise BadModelFile(f"The GGUF field {self._prefix + key!r} has impossible values.")
        return values

    def recurrent_bytes(self, n_embd: int) -> int:
        """float32 state of a recurrent layer: the convolution's window and the state-space state."""
        kernel, inner = self.number("ssm.conv_kernel", MAX_WIDTH), self.number("ssm.inner_size", MAX_WIDTH)
        state, groups = self.number("ssm.state_size", MAX_WIDTH), self.number("ssm.group_count", MAX_WIDTH)
        short = self.number("shortconv.l_cache", MAX_WIDTH)
        values = max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner
        return 4 * (values + n_embd * max(0, short - 1))

    def vocabulary(self) -> int:
        return self._metadata.count("tokenizer.ggml.tokens") or self.number("vocab_size", MAX_COUNT)


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
