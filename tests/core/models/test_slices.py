"""Which blocks a window gets, and which windows are refused, follows from each architecture's rules."""

import re
from typing import Any

import pytest

from app.core.kernel.errors import InvalidRequest, Unsupported
from app.core.models.architectures import ARCHITECTURES, architecture_of
from app.core.models.manifest import Manifest, ModelFacts, ShardRecord, Source, SourceFile, TensorRecord
from app.core.models.slices.blocks import Block, Span, is_whole, span_of, window_blocks


def model(
    architecture: str, layers: int = 8, *, global_names: tuple[str, ...] = (), **facts: Any
) -> Manifest:
    """A manifest that says just what the rules look at."""
    values: dict[str, Any] = {
        "architecture": architecture,
        "n_layers": layers,
        "n_extra_layers": 0,
        "n_embd": 64,
        "n_vocab": 100,
        "context_length": 128,
        "n_head": 4,
        "n_head_kv": (4,) * layers,
        "key_length": 16,
        "value_length": 16,
        "recurrent": (False,) * layers,
        "recurrent_bytes": 0,
        "windowed": (False,) * layers,
        "n_ff": 64,
        "embedding_scale": 1.0,
        "n_expert": 0,
        "n_expert_used": 0,
        "sliding_window": 0,
        "n_params": 1,
        "tied_output": False,
        "rope_sections": False,
    }
    tensors = tuple(TensorRecord(name, (8,), 0, 32 * number) for number, name in enumerate(global_names))
    shard = ShardRecord(
        index=0,
        kind="globals",
        file="000-globals.gguf",
        header_bytes=65_536,
        data_bytes=32,
        blake3="",
        ranges=(),
        tensors=tensors,
    )
    return Manifest(
        name="Model",
        quantization="F16",
        license="",
        source=Source(files=(SourceFile("model.gguf", 1),)),
        facts=ModelFacts(**{**values, **facts}),
        alignment=32,
        shard_size=1,
        shards=(shard,),
        root="",
    )


def blocks(manifest: Manifest, first: int, last: int) -> str:
    """The blocks as layer numbers; fillers in brackets."""
    span = span_of(manifest, first, last, embedding=False, head=True)
    found = window_blocks(manifest, architecture_of(manifest.facts.architecture), span)
    return " ".join(str(block.layer) if block.real else f"[{block.layer}]" for block in found)


def test_most_architectures_need_nothing_but_their_layers() -> None:
    assert blocks(model("llama"), 2, 5) == "2 3 4"
    assert blocks(model("qwen2"), 7, 8) == "7"


def test_hard_coded_patterns_are_kept_in_step_by_leading_fillers() -> None:
    assert blocks(model("smollm3"), 4, 6) == "4 5"
    assert blocks(model("smollm3"), 3, 6) == "[0] [1] [2] 3 4 5"
    assert blocks(model("llama4", 12), 6, 12) == "[4] [5] 6 7 8 9 10 11"


def test_slices_that_are_too_short_are_lengthened_at_their_end() -> None:
    assert blocks(model("llama4", 12), 8, 9) == "8 [9] [10] [11]"
    assert blocks(model("llama4", 12), 0, 2) == "0 1 [2] [3]"


def test_hybrids_get_one_layer_of_each_kind() -> None:
    hybrid = model("qwen35", recurrent=(True, True, True, False) * 2)
    assert blocks(hybrid, 2, 5) == "2 3 4"
    assert blocks(hybrid, 0, 3) == "0 1 2 [7]"
    assert blocks(hybrid, 3, 4) == "3 [6]"


def test_a_window_of_full_attention_gets_a_windowed_layer() -> None:
    gemma = model("gemma3", 12, windowed=(True,) * 5 + (False,) + (True,) * 5 + (False,))
    assert blocks(gemma, 5, 6) == "5 [10]"
    assert blocks(gemma, 4, 6) == "4 5"


def test_a_head_alone_is_a_block_that_changes_nothing() -> None:
    assert blocks(model("llama"), 8, 8) == "[7]"
    assert blocks(model("llama4", 12), 12, 12) == "[8] [9] [10] [11]"
    assert blocks(model("qwen35", recurrent=(True, False) * 4), 8, 8) == "[7] [6]"


def test_behaviour_that_hangs_on_the_layer_count_keeps_its_count() -> None:
    assert len(blocks(model("exaone4", 64), 0, 10).split()) == 64
    assert len(blocks(model("exaone4", 32), 0, 10).split()) == 10
    assert len(blocks(model("command-r", 80), 0, 10).split()) == 80
    assert len(blocks(model("command-r", 40), 0, 10).split()) == 10


def test_lengths_that_llama_cpp_takes_for_another_model_are_refused() -> None:
    with pytest.raises(Unsupported, match="takes deepseek2 with 26 layers for another model"):
        blocks(model("deepseek2", 61), 0, 26)
    assert blocks(model("deepseek2", 27), 0, 27).startswith("0 1 2")


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (model("gemma3n"), "per-layer embeddings"),
        (model("glm4"), "fed hidden states"),
        (model("mamba9000"), "have not been tried"),
        (model("llama", global_names=("rope_freqs.weight", "cls.weight")), "also uses cls.weight"),
    ],
)
def test_what_cannot_be_sliced_says_why(manifest: Manifest, reason: str) -> None:
    with pytest.raises(Unsupported, match=f"The model Model runs whole only: .*{re.escape(reason)}"):
        blocks(manifest, 0, 4)


def test_ends_count_only_where_the_window_reaches_them() -> None:
    manifest = model("llama")
    assert span_of(manifest, 0, None, embedding=True, head=True) == Span(0, 8, tokens=True, logits=True)
    assert span_of(manifest, 2, None, embedding=True, head=True) == Span(2, 8, tokens=False, logits=True)
    assert span_of(manifest, 0, 5, embedding=True, head=True) == Span(0, 5, tokens=True, logits=False)
    assert span_of(manifest, 8, 8, embedding=True, head=True) == Span(8, 8, tokens=False, logits=True)
    assert is_whole(span_of(manifest, 0, 8, embedding=True, head=True), manifest.facts)
    assert not is_whole(span_of(manifest, 0, 8, embedding=False, head=True), manifest.facts)
    for first, last in ((-1, 2), (4, 4), (5, 2), (0, 9)):
        with pytest.raises(InvalidRequest):
            span_of(manifest, first, last, embedding=True, head=True)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_cut_of_every_architecture_is_planned_or_refused(name: str) -> None:
    manifest = model(
        name, 12, rope_sections=True, recurrent=(True, False) * 6, windowed=(False, True, True) * 4
    )
    rules = architecture_of(name)
    for first in range(12):
        for last in range(first + 1, 13):
            span = span_of(manifest, first, last, embedding=False, head=True)
            try:
                found = window_blocks(manifest, rules, span)
            except Unsupported:
                continue
            real = [block for block in found if block.real]
            assert real == [Block(layer, real=True) for layer in range(first, last)]
            assert len(found) >= rules.min_layers
            assert found.index(real[0]) == first % rules.start_multiple
            assert all(0 <= block.layer < 12 for block in found)
