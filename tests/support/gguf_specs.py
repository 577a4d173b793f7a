"""Metadata of one tiny model per architecture, for `gguf_models`.

Keys that begin with a dot get the architecture's name in front. `drop` names tensors (a pattern) that
llama.cpp would take but that real models of the kind do not have.
"""

from typing import Any, NamedTuple

BIAS = r"\.bias$"
SCALES = r"(?<!gate_inp)\.(scale|input_scale)$"
QKV_BIAS = r"(attn_output|ffn_\w+)\.bias$|output\.bias"
HEADS, KV_HEADS = ".attention.head_count", ".attention.head_count_kv"
KEY, VALUE, ROPE = ".attention.key_length", ".attention.value_length", ".rope.dimension_count"
WINDOW, PATTERN = ".attention.sliding_window", ".attention.sliding_window_pattern"
SECTIONS = ".rope.dimension_sections"

MOE = {".expert_count": 8, ".expert_used_count": 2, ".expert_feed_forward_length": 128}
SHARED_MOE = {**MOE, ".expert_shared_feed_forward_length": 128}


class Spec(NamedTuple):
    """`cuts` are boundaries worth trying; `exact` is False where only a tolerance can be met."""

    metadata: dict[str, Any]
    drop: str
    cuts: tuple[tuple[int, ...], ...]
    tolerance: float = 0.0


def spec(
    architecture: str,
    extra: dict[str, Any] | None = None,
    *,
    drop: str = BIAS,
    layers: int = 8,
    layer_norm: bool = False,
    without: tuple[str, ...] = (),
    cuts: tuple[tuple[int, ...], ...] = ((4,), (3,), (2, 5)),
    width: int = 256,
    tolerance: float = 0.0,
) -> Spec:
    epsilon = ".attention.layer_norm_epsilon" if layer_norm else ".attention.layer_norm_rms_epsilon"
    metadata: dict[str, Any] = {
        "general.architecture": architecture,
        "general.name": f"Tiny {architecture}",
        ".block_count": layers,
        ".context_length": 4096,
        ".embedding_length": width,
        ".feed_forward_length": 512,
        HEADS: 4,
        KV_HEADS: 2,
        epsilon: 1e-5,
        ".vocab_size": 320,
        ".rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "no_vocab",
        KEY: 64,
        VALUE: 64,
        ROPE: 64,
    }
    metadata.update(extra or {})
    for key in without:
        metadata.pop(key, None)
    return Spec(metadata, f"{SCALES}|{drop}" if drop else SCALES, cuts, tolerance)


QUICK: dict[str, Spec] = {
    "llama": spec("llama"),
    "qwen2": spec("qwen2", drop=QKV_BIAS),
    "gemma3": spec(
        "gemma3",
        {WINDOW: 16, ".rope.freq_base": 1e6, ".rope.freq_base_swa": 1e4},
        layers=12,
        cuts=((6,), (4,), (5, 9)),
        drop=BIAS + "|^output.weight|dense",
    ),
}
