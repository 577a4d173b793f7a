"""Shards are the model: llama.cpp computes the same bits from them, whole and in slices."""

import json
from pathlib import Path

import pytest

from tests.support.gguf_models import child, random_model
from tests.support.gguf_specs import QUICK, Spec


def chains(spec: Spec) -> list[dict[str, object]]:
    """The whole model; slices at every cut, fed with vectors and once with tokens; the head alone."""
    layers = spec.metadata[".block_count"] - spec.metadata.get(".nextn_predict_layers", 0)
    borders = [[0, *cut, layers] for cut in spec.cuts]
    parts = [[[a, b, False, True] for a, b in zip(row, row[1:], strict=False)] for row in borders]
    with_tokens = [[a, b, True, True] for a, b in zip(borders[0], borders[0][1:], strict=False)]
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
