"""Shards are the model: llama.cpp computes the same bits from them, whole and in slices."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.gguf_models import child, differences, random_model, random_models
from tests.support.gguf_specs import BROAD, QUICK, REFUSED, Spec

Chain = list[list[Any]]


def layers_of(spec: Spec) -> int:
    count: int = spec.metadata[".block_count"] - spec.metadata.get(".nextn_predict_layers", 0)
    return count


def chain(*borders: int, tokens: bool = False) -> Chain:
    """Windows one behind the other; the first takes token ids or what the library embedded."""
    return [[first, last, tokens, True] for first, last in pairwise(borders)]


def chains(spec: Spec) -> list[Chain]:
    """The whole model; slices at every cut, fed with vectors and once with tokens; the head alone."""
    layers = layers_of(spec)
    sliced = [chain(0, *cut, layers) for cut in spec.cuts]
    with_tokens = chain(0, *spec.cuts[0], layers, tokens=True)
    head_alone = [[0, layers, False, False], [layers, layers, False, True]]
    return [[[0, None, True, True]], *sliced, with_tokens, head_alone]


def with_layers(spec: Spec, layers: int, *cuts: tuple[int, ...]) -> Spec:
    return spec._replace(metadata={**spec.metadata, ".block_count": layers}, cuts=cuts)


LONG = with_layers(QUICK["llama"], 24, (9, 16), (10, 17), (11, 12, 13), (1, 23))
"""24 layers make shards of three: windows begin at each of the three."""

GUIDE_CUTS = [(cut,) for cut in range(1, 8)] + [(a, b) for a in range(1, 7) for b in range(a + 1, 8)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, guide_model: Path) -> dict[str, list[Any]]:
    """The quick models' differences, all from one child process."""
    folder = tmp_path_factory.mktemp("quick")
    specs = {**QUICK, "long": LONG}
    random_models({folder / f"{name}.gguf": spec for name, spec in specs.items()})
    jobs = {name: (folder / f"{name}.gguf", chains(spec)) for name, spec in specs.items()}
    jobs["guide"] = (guide_model, [[[0, None, True, True]], *(chain(0, *cut, 8) for cut in GUIDE_CUTS)])
    arguments: list[str] = []
    for name, (model, parts) in jobs.items():
        arguments += [str(model), str(folder / f"library-{name}"), json.dumps([{"parts": p} for p in parts])]
    return dict(zip(jobs, child("exact", *arguments), strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_whole_and_sliced_models_give_the_logits_of_the_file(name: str, quick: dict[str, list[Any]]) -> None:
    *exact, head_alone = quick[name]
    assert exact == [0.0] * (len(QUICK[name].cuts) + 2)
    assert head_alone <= 1e-4


def test_windows_that_begin_inside_a_shard_are_exact(quick: dict[str, list[Any]]) -> None:
    assert quick["long"] == [0.0] * (len(LONG.cuts) + 3)


def test_the_builtin_model_is_exact_at_every_cut(quick: dict[str, list[Any]]) -> None:
    assert quick["guide"] == [0.0] * (len(GUIDE_CUTS) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROAD)
def test_every_sliceable_architecture_is_exact_at_the_cuts_its_rules_allow(name: str, tmp_path: Path) -> None:
    spec = BROAD[name]
    model = random_model(tmp_path / "model.gguf", spec)
    whole, *slices, head_alone = differences(model, tmp_path / "library", chains(spec))
    assert whole == 0.0
    assert all(isinstance(difference, float) for difference in slices), slices
    assert max(slices) <= spec.tolerance
    assert head_alone <= 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_models_that_cannot_be_sliced_run_whole_and_say_why(name: str, tmp_path: Path) -> None:
    spec, reason = REFUSED[name]
    model = random_model(tmp_path / "model.gguf", spec)
    whole, *refusals = differences(model, tmp_path / "library", chains(spec))
    assert whole == 0.0
    assert all("runs whole only" in refusal and reason in refusal for refusal in refusals), refusals


@pytest.mark.slow
def test_a_slice_that_llama_cpp_would_mistake_for_another_model_is_refused(tmp_path: Path) -> None:
    model = random_model(tmp_path / "model.gguf", with_layers(BROAD["deepseek2"], 30))
    parts = [chain(0, cut, 30) for cut in (27, 26, 3, 15)]
    *refusals, allowed = differences(model, tmp_path / "library", parts)
    assert allowed == 0.0
    for length, refusal in zip((27, 26, 27), refusals, strict=True):
        assert f"llama.cpp takes deepseek2 with {length} layers for another model" in refusal


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_quantized_models_are_exact_too(kind: str, tmp_path: Path) -> None:
    for name, spec in QUICK.items():
        model = random_model(tmp_path / f"{name}.gguf", spec)
        small = tmp_path / f"{name}-{kind}.gguf"
        child("quantize", str(model), str(small), kind)
        found = differences(small, tmp_path / f"library-{name}", chains(spec))
        assert found[:-1] == [0.0] * (len(found) - 1)
