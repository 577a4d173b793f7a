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

_SWA = {WINDOW: 16}
_SSM = {
    ".ssm.conv_kernel": 4,
    ".ssm.inner_size": 256,
    ".ssm.state_size": 64,
    ".ssm.time_step_rank": 4,
    ".ssm.group_count": 2,
}
_MAMBA2 = {**_SSM, ".ssm.inner_size": 512, ".ssm.time_step_rank": 8}
_SCALED = {
    ".logit_scale": 8.0,
    ".embedding_scale": 12.0,
    ".residual_scale": 0.22,
    ".attention.scale": 0.015625,
}
_MLA = {
    **MOE,
    KV_HEADS: 1,
    KEY: 160,
    VALUE: 128,
    ROPE: 32,
    ".attention.key_length_mla": 96,
    ".attention.value_length_mla": 64,
    ".attention.kv_lora_rank": 128,
    ".attention.q_lora_rank": 128,
    ".leading_dense_block_count": 2,
    ".expert_shared_count": 1,
    ".expert_gating_func": 2,
    ".expert_weights_scale": 2.5,
    ".expert_weights_norm": True,
}
_GLM_MOE = {
    **MOE,
    ROPE: 32,
    ".expert_shared_count": 1,
    ".leading_dense_block_count": 1,
    ".expert_gating_func": 2,
    ".expert_weights_scale": 1.0,
    ".expert_weights_norm": True,
}
_GEMMA4 = {
    WINDOW: 16,
    KEY: 128,
    VALUE: 128,
    ROPE: 128,
    ".attention.key_length_swa": 64,
    ".attention.value_length_swa": 64,
    ".rope.dimension_count_swa": 64,
    ".rope.freq_base_swa": 1e4,
    ".final_logit_softcapping": 30.0,
    PATTERN: [True, True, True, False] * 2,
    ".embedding_length_per_layer_input": 0,
    ".attention.shared_kv_layers": 0,
}
_GEMMA4_DROP = BIAS + "|^output.weight|exps|ffn_gate_inp|norm_[12]"
_QWEN35 = {**_SSM, SECTIONS: [8, 8, 8, 0], ROPE: 48, ".full_attention_interval": 4}
_TIED = BIAS + "|^output.weight"
_SOFTCAPS = {**_SWA, ".attn_logit_softcapping": 50.0, ".final_logit_softcapping": 30.0}
_HYBRID_KV = [0, 0, 2, 0, 0, 0, 2, 0]

BROAD: dict[str, Spec] = {
    "llama-moe": spec("llama", {".expert_count": 8, ".expert_used_count": 2}),
    "qwen2moe": spec("qwen2moe", SHARED_MOE, drop=""),
    "qwen3": spec("qwen3", drop=BIAS + "|^cls"),
    "qwen3moe": spec("qwen3moe", MOE),
    "gemma": spec("gemma", drop=_TIED),
    "gemma2": spec("gemma2", _SOFTCAPS, drop=_TIED),
    "gemma2-512": spec("gemma2", _SOFTCAPS, drop=_TIED, width=512, tolerance=0.05),
    "gemma2-27b": spec("gemma2", _SOFTCAPS, drop=_TIED, layers=46, cuts=((23,),)),
    "gemma4": spec("gemma4", _GEMMA4, drop=_GEMMA4_DROP, cuts=((4,), (3,), (3, 4), (1, 7))),
    "phi3": spec(
        "phi3",
        {WINDOW: 2047, ".rope.scaling.original_context_length": 64},
        without=(KEY, VALUE),
    ),
    "deepseek2": spec("deepseek2", _MLA, cuts=((4,), (1,), (3, 6))),
    "deepseek2-nomla": spec(
        "deepseek2",
        {**_MLA, KV_HEADS: 4, KEY: 96, VALUE: 64},
        without=(".attention.key_length_mla", ".attention.value_length_mla"),
        cuts=((4,), (1,)),
    ),
    "deepseek2-lite": spec(
        "deepseek2", _MLA, without=(".attention.q_lora_rank", ".expert_gating_func"), layers=27, cuts=((13,),)
    ),
    "glm4": spec("glm4", {ROPE: 32, SECTIONS: [4, 6, 6, 0]}, drop=QKV_BIAS + "|nextn"),
    "glm4moe": spec("glm4moe", {**_GLM_MOE, SECTIONS: [4, 6, 6, 0]}, drop="nextn"),
    "starcoder2": spec("starcoder2", layer_norm=True, drop=""),
    "phi2": spec("phi2", {ROPE: 32}, layer_norm=True, drop=""),
    "falcon": spec("falcon", layer_norm=True, drop="attn_norm_2", without=(KEY, VALUE)),
    "falcon40": spec("falcon", layer_norm=True, drop="", without=(KEY, VALUE)),
    "llama4": spec(
        "llama4",
        {**MOE, ".interleave_moe_layer_step": 2, ".feed_forward_length": 256},
        layers=12,
        cuts=((4,), (8,), (2,), (6,)),
    ),
    "llama4-step1": spec("llama4", {**MOE, ".interleave_moe_layer_step": 1}, layers=12, cuts=((4,), (6,))),
    "qwen35": spec("qwen35", _QWEN35, drop="nextn", layers=12, cuts=((4,), (5,), (3,), (3, 7))),
    "qwen35-mtp": spec(
        "qwen35", {**_QWEN35, ".nextn_predict_layers": 1}, drop="", layers=9, cuts=((4,), (3, 6))
    ),
    "qwen35moe": spec("qwen35moe", {**_QWEN35, **SHARED_MOE}, drop="nextn", layers=12, cuts=((4,), (5,))),
    "qwen3next": spec(
        "qwen3next",
        {**_SSM, **SHARED_MOE, ".full_attention_interval": 4},
        drop="nextn",
        layers=12,
        cuts=((4,), (5,)),
    ),
    "gpt-oss": spec("gpt-oss", {**MOE, **_SWA}, drop=""),
    "mistral3": spec("mistral3", {".attention.temperature_scale": 0.1}),
    "granite": spec("granite", _SCALED),
    "command-r": spec("command-r", {".logit_scale": 0.0625}, layer_norm=True, without=(KEY, VALUE)),
    "command-r-plus": spec(
        "command-r", {".logit_scale": 0.0625}, layer_norm=True, without=(KEY, VALUE), layers=64, cuts=((31,),)
    ),
    "cohere2": spec("cohere2", {".logit_scale": 0.0625, **_SWA}, layer_norm=True, without=(KEY, VALUE)),
    "olmo2": spec("olmo2", without=(KEY, VALUE)),
    "olmo2-swa": spec("olmo2", _SWA, without=(KEY, VALUE)),
    "mamba": spec(
        "mamba",
        {
            ".ssm.conv_kernel": 4,
            ".ssm.inner_size": 512,
            ".ssm.state_size": 16,
            ".ssm.time_step_rank": 16,
            HEADS: 0,
            KV_HEADS: 0,
        },
        drop="",
        without=(KEY, VALUE, ROPE),
    ),
    "mamba2": spec(
        "mamba2",
        {**_MAMBA2, ".ssm.group_count": 1, HEADS: 0, KV_HEADS: 0},
        drop="",
        without=(KEY, VALUE, ROPE),
    ),
    "nemotron_h": spec(
        "nemotron_h",
        {
            **_MAMBA2,
            ".attention.layer_norm_epsilon": 1e-5,
            KV_HEADS: _HYBRID_KV,
            ".feed_forward_length": [0, 512, 0, 512, 0, 512, 0, 512],
        },
        drop="",
        cuts=((4,), (3,), (2, 5)),
    ),
    "lfm2": spec(
        "lfm2",
        {KV_HEADS: [0, 0, 2, 0, 0, 2, 0, 2], ".shortconv.l_cache": 3},
        drop=BIAS + "|dense",
        without=(KEY, VALUE),
        cuts=((4,), (3,), (2,)),
    ),
    "granitehybrid": spec(
        "granitehybrid", {**_MAMBA2, **_SCALED, KV_HEADS: _HYBRID_KV}, drop="", cuts=((4,), (3,))
    ),
    "smollm3": spec("smollm3", cuts=((4,), (3,), (2, 5))),
    "exaone4": spec("exaone4"),
    "exaone4-64": spec("exaone4", layers=64, cuts=((31,),)),
    "hunyuan-dense": spec("hunyuan-dense"),
    "minicpm": spec("minicpm", drop=BIAS + "|rope_f"),
    "qwen2vl": spec("qwen2vl", {SECTIONS: [16, 24, 24, 0]}, drop=QKV_BIAS),
    "gpt2": spec("gpt2", {KV_HEADS: 4}, layer_norm=True, drop="", without=(ROPE, KEY, VALUE)),
}

_MATRIX_BIAS = r"(attn_(q|k|v|qkv|output)|ffn_(gate|up|down))\.bias$|^output\.bias"

BROAD |= {
    "internlm2": spec("internlm2"),
    "olmo": spec("olmo", layer_norm=True, without=(KEY, VALUE)),
    "olmoe": spec("olmoe", {**MOE, ".feed_forward_length": 128, KV_HEADS: 4}, without=(KEY, VALUE)),
    "granitemoe": spec("granitemoe", {**MOE, **_SCALED}),
    "seed_oss": spec("seed_oss"),
    "ernie4_5": spec("ernie4_5"),
    "ernie4_5-moe": spec(
        "ernie4_5-moe",
        {
            **MOE,
            ".interleave_moe_layer_step": 1,
            ".leading_dense_block_count": 1,
            ".expert_shared_count": 1,
            ".expert_shared_feed_forward_length": 128,
        },
        drop="",
    ),
    "stablelm": spec(
        "stablelm", layer_norm=True, drop="attn_(q|k)_norm|" + _MATRIX_BIAS, without=(KEY, VALUE)
    ),
    "orion": spec("orion", layer_norm=True, drop=_MATRIX_BIAS),
    "xverse": spec("xverse"),
    "exaone": spec("exaone"),
    "nemotron": spec("nemotron", layer_norm=True, drop=_MATRIX_BIAS),
    "arcee": spec("arcee"),
    "gptneox": spec(
        "gptneox",
        {KV_HEADS: 4, ROPE: 16, ".use_parallel_residual": True},
        layer_norm=True,
        drop="",
        without=(KEY, VALUE),
    ),
    "codeshell": spec("codeshell", layer_norm=True, drop="", without=(KEY, VALUE)),
    "deepseek": spec(
        "deepseek",
        {**MOE, ".leading_dense_block_count": 1, ".expert_shared_count": 1, ".expert_weights_scale": 1.0},
    ),
    "dots1": spec("dots1", {**_GLM_MOE, ROPE: 64, KV_HEADS: 4}, drop=_MATRIX_BIAS),
    "hunyuan-moe": spec("hunyuan-moe", {**MOE, ".expert_shared_feed_forward_length": 128}),
    "lfm2moe": spec(
        "lfm2moe",
        {
            **MOE,
            KV_HEADS: [0, 0, 2, 0, 0, 2, 0, 2],
            ".shortconv.l_cache": 3,
            ".leading_dense_block_count": 2,
            ".expert_gating_func": 2,
        },
        drop=r"(attn|ffn)\w*\.bias|dense",
        without=(KEY, VALUE),
        cuts=((4,), (3,), (2,)),
    ),
    "phimoe": spec(
        "phimoe",
        {**MOE, ".rope.scaling.original_context_length": 64},
        layer_norm=False,
        drop="",
        without=(KEY, VALUE),
    ),
    "qwen": spec("qwen", {KV_HEADS: 4, ".feed_forward_length": 1024}, drop=r"attn_output\.bias|output\.bias"),
}

REFUSED: dict[str, tuple[Spec, str]] = {
    "glm4-text": (spec("glm4", {ROPE: 32}, drop=QKV_BIAS + "|nextn"), "hidden states"),
    "glm4moe-text": (spec("glm4moe", _GLM_MOE, drop="nextn"), "hidden states"),
    "gemma4-e": (
        spec(
            "gemma4",
            {**_GEMMA4, ".embedding_length_per_layer_input": 64, ".attention.shared_kv_layers": 4},
            drop=_GEMMA4_DROP,
        ),
        "per_layer",
    ),
    "bloom": (
        spec("bloom", {KV_HEADS: 4}, layer_norm=True, drop="", without=(ROPE, KEY, VALUE)),
        "not been tried",
    ),
}
"""Models that run whole only, and a part of the reason given."""
