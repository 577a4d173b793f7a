"""The metadata of a window's first file: the model's own, with everything that counts layers rewritten."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from app.core.models.architectures import Architecture
from app.core.models.gguf.metadata import Metadata, Scalar
from app.core.models.gguf.types import INTEGERS, ValueType
from app.core.models.gguf.writer import array_field, field
from app.core.models.manifest import ModelFacts
from app.core.models.slices.blocks import Block, Span

DUMMY_VOCABULARY: Final = 32
_GENERAL: Final = (
    "general.architecture",
    "general.name",
    "general.file_type",
    "general.quantization_version",
)
_FIXED_ARRAYS: Final = ("rope.dimension_sections",)
_PATTERN: Final = "attention.sliding_window_pattern"
_RECURRENT: Final = "attention.recurrent_layers"

Put = Callable[[str, ValueType, Scalar], None]


def window_fields(
    metadata: Metadata, facts: ModelFacts, rules: Architecture, span: Span, blocks: Sequence[Block]
) -> list[bytes]:
    """The fields, packed. A window that gives logits carries the tokenizer, another a stand-in for it."""
    rewritten = _rewritten(metadata, facts, rules, span, blocks)
    vocabulary = facts.n_vocab if span.tokens or span.logits else DUMMY_VOCABULARY
    prefix = facts.architecture + "."
    rewritten["vocab_size"] = field(prefix + "vocab_size", ValueType.UINT32, vocabulary)
    fields = [metadata.raw(key) for key in _GENERAL if key in metadata]
    own = (key for key in metadata.fields if key.startswith(prefix))
    fields += [metadata.raw(key) for key in own if key.removeprefix(prefix) not in rewritten]
    fields += rewritten.values()
    if span.logits:
        fields += [metadata.raw(key) for key in metadata.fields if key.startswith("tokenizer.")]
    else:
        fields.append(field("tokenizer.ggml.model", ValueType.STRING, "no_vocab"))
    return fields


def _rewritten(
    metadata: Metadata, facts: ModelFacts, rules: Architecture, span: Span, blocks: Sequence[Block]
) -> dict[str, bytes]:
    prefix = facts.architecture + "."
    layers = [block.layer for block in blocks]
    out: dict[str, bytes] = {}

    def put(key: str, kind: ValueType, value: Scalar) -> None:
        out[key] = field(prefix + key, kind, value)

    def put_flags(key: str, values: list[Scalar]) -> None:
        out[key] = array_field(prefix + key, ValueType.BOOL, values)

    for key, item, values in _layer_arrays(metadata, facts):
        out[key] = array_field(prefix + key, item, [values[layer] for layer in layers])
    put("block_count", ValueType.UINT32, len(blocks))
    if prefix + "nextn_predict_layers" in metadata:
        put("nextn_predict_layers", ValueType.UINT32, 0)
    if rules.period and _PATTERN not in out:
        put_flags(_PATTERN, [facts.windowed[layer] for layer in layers])
    if rules.recurrent_pattern and _RECURRENT not in out:
        put_flags(_RECURRENT, [facts.recurrent[layer] for layer in layers])
    if rules.embedding_scale == "stated" and not span.tokens:
        # llama.cpp would scale the vectors that enter, whoever embedded the tokens did so already
        put("embedding_scale", ValueType.FLOAT32, 1.0)
    _put_specials(metadata, facts, layers, put)
    return out


def _layer_arrays(metadata: Metadata, facts: ModelFacts) -> list[tuple[str, ValueType, tuple[Scalar, ...]]]:
    prefix = facts.architecture + "."
    counts = {facts.n_layers, facts.n_layers + facts.n_extra_layers}
    found = []
    for name, entry in metadata.fields.items():
        key = name.removeprefix(prefix)
        if name == key or key in _FIXED_ARRAYS or entry.kind != ValueType.ARRAY or entry.items not in counts:
            continue
        if entry.item in INTEGERS | {ValueType.BOOL, ValueType.FLOAT32}:
            found.append((key, entry.item, metadata.array(name) or ()))
    return found


def _put_specials(metadata: Metadata, facts: ModelFacts, layers: Sequence[int], put: Put) -> None:
    """What llama.cpp would derive from the layer count."""
    prefix = facts.architecture + "."
    dense = metadata.integer(prefix + "leading_dense_block_count")
    if dense is not None:
        put("leading_dense_block_count", ValueType.UINT32, sum(layer < dense for layer in layers))
    if facts.architecture == "minicpm":
        if prefix + "residual_scale" not in metadata:
            put("residual_scale", ValueType.FLOAT32, 1.4 / math.sqrt(facts.n_layers))
        if prefix + "logit_scale" not in metadata:
            put("logit_scale", ValueType.FLOAT32, 256.0 / facts.n_embd)
    if facts.architecture == "deepseek2":
        if prefix + "attention.q_lora_rank" not in metadata:
            put("attention.q_lora_rank", ValueType.UINT32, 0)
        if not metadata.integer(prefix + "expert_gating_func"):
            glm_lite = facts.n_layers in {47, 48} and facts.n_vocab == 154_880
            put("expert_gating_func", ValueType.UINT32, 2 if glm_lite else 1)
