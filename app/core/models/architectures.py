"""How each architecture may be sliced, as data.

Measured with random-weight models against whole runs in llama.cpp (llama-cpp-python 0.3.36); an
architecture that is not listed has not been tried and runs whole only. What the fields mean is told in
`Architecture`; how they are applied, in `slicing.py`.
"""

from typing import Final, Literal

import msgspec


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for slices of one architecture.

    `whole_only` is the reason why it cannot be sliced, if so.
    `start_multiple`: the graph hard-codes a pattern of that period, so slices begin at its multiples.
    `period`: default of `attention.sliding_window_pattern`, which slices get written out as an array;
    `default_window` the sliding window of models that do not state one.
    `recurrent_pattern`: likewise `attention.recurrent_layers`, from `full_attention_interval`.
    `hybrid`: a slice needs at least one attention layer and one recurrent layer.
    `min_layers`, `forbidden_lengths`: slices that llama.cpp cannot load or treats as another model.
    `count_from`, `count_to`: models with that many layers compute differently, so their slices are padded
    to the same number of blocks.
    `embedding_scale`: what a row of the table is multiplied with before the first layer.
    `scales_vectors`: llama.cpp applies that scale to vectors too, so later slices get theirs divided by it.
    `mrope`: vectors take four positions per row; "sections" where only models with
    `rope.dimension_sections` do, and the others cannot be fed vectors at all.
    `tied_fallback`: llama.cpp takes the embedding table for the output head where a file has none.
    `capture`: the tensor behind a layer, less its number. `head_norm`: the norm before the output head.
    """

    whole_only: str = ""
    start_multiple: int = 1
    period: int = 0
    default_window: int = 0
    recurrent_pattern: bool = False
    hybrid: bool = False
    min_layers: int = 1
    forbidden_lengths: tuple[int, ...] = ()
    count_from: int = 0
    count_to: int = 0
    embedding_scale: Literal["none", "sqrt_width", "stated"] = "none"
    scales_vectors: bool = False
    default_scale: float = 1.0
    mrope: Literal["no", "yes", "sections"] = "no"
    tied_fallback: bool = True
    capture: str = "l_out"
    exact_rollback: bool = True
    head_norm: str = "output_norm"


_PLAIN: Final = Architecture()
_OWN_HEAD: Final = Architecture(tied_fallback=False)
_PER_LAYER: Final = "its layers need the tokens and the first layer's input as well (per-layer embeddings)"

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "llama": _PLAIN,
    "qwen2": _PLAIN,
    "qwen2moe": _OWN_HEAD,
    "qwen3": _PLAIN,
    "qwen3moe": _PLAIN,
    "phi3": _PLAIN,
    "starcoder2": _PLAIN,
    "falcon": _PLAIN,
    "mistral3": _PLAIN,
    "hunyuan-dense": _PLAIN,
    "gpt2": _PLAIN,
    "internlm2": _OWN_HEAD,
    "olmo": _PLAIN,
    "olmoe": _OWN_HEAD,
    "granitemoe": Architecture(embedding_scale="stated"),
    "seed_oss": _PLAIN,
    "ernie4_5": _PLAIN,
    "ernie4_5-moe": _PLAIN,
    "stablelm": _OWN_HEAD,
    "orion": _OWN_HEAD,
    "xverse": _OWN_HEAD,
    "exaone": _PLAIN,
    "nemotron": _OWN_HEAD,
    "arcee": _PLAIN,
    "gptneox": _OWN_HEAD,
    "codeshell": _OWN_HEAD,
    "deepseek": _PLAIN,
    "dots1": _OWN_HEAD,
    "hunyuan-moe": _PLAIN,
    "lfm2moe": Architecture(hybrid=True, exact_rollback=False, head_norm="token_embd_norm"),
    "phimoe": _OWN_HEAD,
    "qwen": _OWN_HEAD,
    "phi2": _OWN_HEAD,
    "gemma": Architecture(embedding_scale="sqrt_width", scales_vectors=True),
    "gemma2": Architecture(
        embedding_scale="sqrt_width",
        scales_vectors=True,
        period=2,
        default_window=4_096,
        count_from=46,
        count_to=46,
    ),
    "gemma3": Architecture(embedding_scale="sqrt_width", period=6, count_from=62, count_to=62),
    "gemma4": Architecture(embedding_scale="sqrt_width", min_layers=2),
    "gemma3n": Architecture(whole_only=_PER_LAYER),
    "deepseek2": Architecture(forbidden_lengths=(26, 27, 48)),
    "glm4": Architecture(mrope="sections"),
    "glm4moe": Architecture(mrope="sections"),
    "qwen2vl": Architecture(mrope="yes"),
    "llama4": Architecture(start_multiple=4, min_layers=4, period=4, default_window=8_192),
    "smollm3": Architecture(start_multiple=4),
    "gpt-oss": Architecture(period=2, tied_fallback=False),
    "olmo2": Architecture(period=4, tied_fallback=False),
    "command-r": Architecture(count_from=64, count_to=4_096),
    "cohere2": Architecture(period=4),
    "exaone4": Architecture(period=4, count_from=64, count_to=64),
    "granite": Architecture(embedding_scale="stated"),
    "minicpm": Architecture(embedding_scale="stated", default_scale=12.0),
    "mamba": Architecture(exact_rollback=False),
    "mamba2": Architecture(exact_rollback=False),
    "qwen35": Architecture(mrope="yes", recurrent_pattern=True, hybrid=True, exact_rollback=False),
    "qwen35moe": Architecture(mrope="yes", recurrent_pattern=True, hybrid=True, exact_rollback=False),
    "qwen3next": Architecture(recurrent_pattern=True, hybrid=True, exact_rollback=False),
    "nemotron_h": Architecture(hybrid=True, capture="nemotron_h_block_out", exact_rollback=False),
    "lfm2": Architecture(hybrid=True, exact_rollback=False, head_norm="token_embd_norm"),
    "granitehybrid": Architecture(hybrid=True, exact_rollback=False, embedding_scale="stated"),
}

_RECURRENT: Final = frozenset(
    {"rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7", "jamba", "falcon-h1", "plamo2", "kimi-linear"}
    | {"nemotron_h_moe", "qwen35-mtp", "minimax-01"}
)


def architecture_of(name: str) -> Architecture:
    """The rules for `name`; for one that nobody has tried, that it runs whole only."""
    known = ARCHITECTURES.get(name)
    if known is not None:
        return known
    return Architecture(
        whole_only=f"slices of the architecture {name!r} have not been tried",
        exact_rollback=name not in _RECURRENT,
    )
