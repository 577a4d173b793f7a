"""Memory estimates show their arithmetic and agree with what llama.cpp allocates."""

from pathlib import Path

import msgspec
import pytest

from app.core.models.fits import estimate_memory
from app.core.models.importing import plan_import
from app.core.models.manifest import ModelFacts
from tests.support.gguf_models import child, random_model
from tests.support.gguf_specs import BROAD, QUICK

MIB = 1 << 20
SEVEN_B = ModelFacts(
    architecture="llama",
    n_layers=32,
    n_extra_layers=0,
    n_embd=4096,
    n_vocab=32_000,
    context_length=4096,
    n_head=32,
    n_head_kv=(32,) * 32,
    key_length=128,
    value_length=128,
    recurrent=(False,) * 32,
    recurrent_bytes=0,
    windowed=(False,) * 32,
    n_ff=11_008,
    embedding_scale=1.0,
    n_expert=0,
    n_expert_used=0,
    sliding_window=0,
    n_params=6_738_415_616,
    tied_output=False,
    rope_sections=False,
)


def test_the_cache_of_a_seven_billion_model_is_the_well_known_two_gigabytes() -> None:
    estimate = estimate_memory(SEVEN_B, weight_bytes=3_825 * MIB, context=4096)
    sizes = {term.name: term.size for term in estimate.terms}
    assert sizes["weights"] == 3_825 * MIB
    assert sizes["KV cache"] == 2_048 * MIB
    assert "1024 heads x 4096 tokens x 256 values x 2 B x 1 slots" in estimate.terms[1].arithmetic
    assert estimate.total == sum(sizes.values())


def test_slots_and_context_cost_what_they_hold() -> None:
    one = estimate_memory(SEVEN_B, weight_bytes=0, context=2048).terms[0].size
    assert estimate_memory(SEVEN_B, weight_bytes=0, context=2048, slots=3).terms[0].size == 3 * one
    assert estimate_memory(SEVEN_B, weight_bytes=0, context=4096).terms[0].size == 2 * one
    assert estimate_memory(SEVEN_B, weight_bytes=0, context=1800).terms[0].size == one
    smaller = estimate_memory(SEVEN_B, weight_bytes=0, context=2048, cache_value_bytes=1.0625)
    assert smaller.terms[0].size == one * 1.0625 / 2


def test_windowed_layers_cost_their_window_where_only_that_is_kept() -> None:
    facts = msgspec.structs.replace(SEVEN_B, windowed=(True, False) * 16, sliding_window=1024)
    full = estimate_memory(facts, weight_bytes=0, context=32_768).terms[0].size
    kept = estimate_memory(facts, weight_bytes=0, context=32_768, full_window=False).terms[0].size
    assert kept == full // 2 + full // 2 * 1536 // 32_768


def test_the_verdict_is_a_sentence_with_figures() -> None:
    estimate = estimate_memory(SEVEN_B, weight_bytes=3_825 * MIB, context=4096)
    assert estimate.sentence(8 << 30).startswith("weights 3.7 GiB + KV cache 2.0 GiB + compute buffers")
    assert "which fits into 8.0 GiB." in estimate.sentence(8 << 30)
    assert "does not fit into 4.0 GiB." in estimate.sentence(4 << 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3moe", "qwen35", "lfm2", "mamba", "deepseek2"])
def test_estimates_agree_with_what_llama_cpp_allocates(name: str, tmp_path: Path) -> None:
    spec = {**QUICK, **BROAD}[name]
    wide = spec._replace(metadata={**spec.metadata, ".vocab_size": 32_000})
    model = random_model(tmp_path / "model.gguf", wide)
    manifest = plan_import(model, shard_size=1 << 29).manifest
    for context, slots, batch in ((2048, 1, 512), (4096, 4, 512), (1024, 2, 128)):
        found = child("buffers", str(model), str(context), str(slots), str(batch))
        estimate = estimate_memory(
            manifest.facts, weight_bytes=manifest.data_bytes, context=context, slots=slots, batch=batch
        )
        sizes = {term.name: term.size / MIB for term in estimate.terms}
        assert sizes.get("weights") == pytest.approx(found["model"], rel=0.05)
        assert sizes.get("KV cache", 0) == pytest.approx(found.get("KV", 0), rel=0.01)
        assert sizes.get("recurrent state", 0) == pytest.approx(found.get("RS", 0), abs=0.05)
        assert sizes["compute buffers"] == pytest.approx(found["compute"], rel=0.15)
