"""Shards are the model: llama.cpp computes the same bits from them, whole and in slices."""

import itertools
import json
from pathlib import Path

import pytest

from tests.support.gguf_models import child, random_model
from tests.support.gguf_specs import BROAD, QUICK, REFUSED, Spec


def chains(spec: Spec) -> list[dict[str, object]]:
    """The whole model; slices at every cut, fed with vectors and once with tokens; the head alone."""
    layers = spec.metadata[".block_count"] - spec.metadata.get(".nextn_predict_layers", 0)
    borders = [[0, *cut, layers] for cut in spec.cuts]
    parts = [[[a, b, False, True] for a, b in itertools.pairwise(row)] for row in borders]
    with_tokens = [[a, b, True, True] for a, b in itertools.pairwise(borders[0])]
    head_alone = [[0, layers, False, False], [layers, layers, False, True]]
    whole = [[0, None, True, True]]
    return [{"parts": chain} for chain in [whole, *parts, with_tokens, head_alone]]


@pytest.mark.parametrize("name", QUICK)
def test_whole_and_sliced_models_give_the_logits_of_the_file(name: str, tmp_path: Path) -> None:
    model = random_model(tmp_path / "model.gguf", QUICK[name])
    found = child("exact", str(model), str(tmp_path / "library"), json.dumps(chains(QUICK[name])))
    *exact, head_alone = found
    assert exact == [0.0] * len(exact)
    assert head_alone <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", BROAD)
def test_every_sliceable_architecture_is_exact_at_the_cuts_its_rules_allow(name: str, tmp_path: Path) -> None:
    spec = BROAD[name]
    model = random_model(tmp_path / "model.gguf", spec)
    found = child("exact", str(model), str(tmp_path / "library"), json.dumps(chains(spec)))
    whole, *slices, head_alone = found
    assert whole == 0.0
    assert all(isinstance(difference, float) for difference in slices), slices
    assert max(slices) <= spec.tolerance
    assert head_alone <= 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_models_that_cannot_be_sliced_run_whole_and_say_why(name: str, tmp_path: Path) -> None:
    spec, reason = REFUSED[name]
    model = random_model(tmp_path / "model.gguf", spec)
    found = child("exact", str(model), str(tmp_path / "library"), json.dumps(chains(spec)))
    assert found[0] == 0.0
    assert all("runs whole only" in refusal and reason in refusal for refusal in found[1:]), found[1:]


@pytest.mark.slow
def test_a_slice_that_llama_cpp_would_mistake_for_another_model_is_refused(tmp_path: Path) -> None:
    spec = BROAD["deepseek2"]
    long = spec._replace(metadata={**spec.metadata, ".block_count": 30})
    model = random_model(tmp_path / "model.gguf", long)
    cuts = [[[0, cut, False, True], [cut, 30, False, True]] for cut in (27, 26, 3, 15)]
    request = json.dumps([{"parts": parts} for parts in cuts])
    found = child("exact", str(model), str(tmp_path / "library"), request)
    assert found[3] == 0.0
    for cut, refusal in zip((27, 26, 27), found[:3], strict=True):
        assert f"llama.cpp takes deepseek2 with {cut} layers for another model" in refusal


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_quantized_models_are_exact_too(kind: str, tmp_path: Path) -> None:
    for name in QUICK:
        model = random_model(tmp_path / f"{name}.gguf", QUICK[name])
        small = tmp_path / f"{name}-{kind}.gguf"
        child("quantize", str(model), str(small), kind)
        found = child("exact", str(small), str(tmp_path / f"library-{name}"), json.dumps(chains(QUICK[name])))
        assert found[:-1] == [0.0] * (len(found) - 1)


def test_windows_that_begin_inside_a_shard_are_exact(tmp_path: Path) -> None:
    """24 layers make shards of three: windows begin at each of the three."""
    spec = QUICK["llama"]._replace(cuts=((9, 16), (10, 17), (11, 12, 13), (1, 23)))
    spec = spec._replace(metadata={**spec.metadata, ".block_count": 24})
    model = random_model(tmp_path / "model.gguf", spec)
    found = child("exact", str(model), str(tmp_path / "library"), json.dumps(chains(spec)))
    assert found == [0.0] * len(found)


def test_the_builtin_model_is_exact_at_every_cut(guide_model: Path, tmp_path: Path) -> None:
    pairs = [[0, cut, 8] for cut in range(1, 8)]
    triples = [[0, a, b, 8] for a in range(1, 7) for b in range(a + 1, 8)]
    parts = [[[a, b, False, True] for a, b in itertools.pairwise(row)] for row in [*pairs, *triples]]
    request = json.dumps([{"parts": chain} for chain in [[[0, None, True, True]], *parts]])
    found = child("exact", str(guide_model), str(tmp_path / "library"), request)
    assert found == [0.0] * len(found)
