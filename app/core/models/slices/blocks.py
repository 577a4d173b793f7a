"""Decides of which blocks a window consists, and refuses the windows that an architecture does not allow.

A window's blocks are its layers and, where the architecture needs them, filler blocks: copies of a
layer's shape whose weights are zero, so that what goes in comes out unchanged. Leading fillers keep
patterns aligned that are hard-coded by block number; trailing ones supply a kind of layer that llama.cpp
cannot do without, or a block count that its behaviour hangs on.
"""

from typing import NamedTuple

from app.core.kernel.errors import InvalidRequest, Unsupported
from app.core.models.architectures import Architecture
from app.core.models.manifest import Manifest, ModelFacts


class Block(NamedTuple):
    """One block of a window: layer `layer` itself, or a filler with the shape of that layer."""

    layer: int
    real: bool


class Span(NamedTuple):
    """Layers `first` up to but not including `last`, with the embedding and the output head or without."""

    first: int
    last: int
    tokens: bool
    logits: bool


def span_of(manifest: Manifest, first: int, last: int | None, *, embedding: bool, head: bool) -> Span:
    """The span asked for; the ends count only where it reaches them. Raises InvalidRequest."""
    count = manifest.facts.n_layers
    end = count if last is None else last
    empty_head = first == end == count and head
    if not (0 <= first < end <= count or empty_head):
        raise InvalidRequest(
            f"The model {manifest.name} has layers 0 to {count}; {first} to {end} is no part."
        )
    return Span(first, end, first == 0 and embedding and not empty_head, end == count and head)


def is_whole(span: Span, facts: ModelFacts) -> bool:
    return span == Span(0, facts.n_layers, tokens=True, logits=True)


def window_blocks(manifest: Manifest, rules: Architecture, span: Span) -> tuple[Block, ...]:
    """The blocks of a window. Raises Unsupported with the reason if the architecture forbids this cut."""
    facts = manifest.facts
    _require_sliceable(manifest, rules)
    wanted = max(rules.min_layers, 1)
    if rules.count_from and rules.count_from <= facts.n_layers <= rules.count_to:
        wanted = facts.n_layers
    lead = span.first % rules.start_multiple if span.last > span.first else 0
    blocks = [Block(layer, layer >= span.first) for layer in range(span.first - lead, span.last)]
    if rules.start_multiple == 1:
        blocks += [Block(layer, real=False) for layer in _missing_kinds(blocks, rules, facts)]
    trailing = span.last
    while len(blocks) < wanted:
        blocks.append(Block(_imitated(trailing, rules, facts), real=False))
        trailing += 1
    _require_length(manifest, rules, span, len(blocks))
    return tuple(blocks)


def _require_sliceable(manifest: Manifest, rules: Architecture) -> None:
    reason = rules.whole_only
    if rules.mrope == "sections" and not manifest.facts.rope_sections:
        reason = "llama.cpp ends itself when it is fed hidden states of this model"
    if not reason:
        others = _other_globals(manifest)
        reason = f"its graph also uses {', '.join(sorted(others)[:3])}" if others else ""
    if reason:
        raise Unsupported(f"The model {manifest.name} runs whole only: {reason}.")


def _other_globals(manifest: Manifest) -> set[str]:
    shard = manifest.shard_of("globals")
    known = {
        "rope_freqs.weight",
        "rope_factors_long.weight",
        "rope_factors_short.weight",
        "position_embd.weight",
    }
    return {tensor.name for tensor in shard.tensors} - known if shard else set()


def _imitated(layer: int, rules: Architecture, facts: ModelFacts) -> int:
    """A layer that exists and stands at the same place of the hard-coded pattern as `layer` would."""
    step = rules.start_multiple
    return layer if layer < facts.n_layers else layer - step * -(-(layer - facts.n_layers + 1) // step)


def _missing_kinds(blocks: list[Block], rules: Architecture, facts: ModelFacts) -> list[int]:
    """A layer of each kind that llama.cpp keeps a cache for, and ends itself without, where none is held."""
    every = range(facts.n_layers)
    kinds = [[layer for layer in every if facts.windowed[layer]]]
    if rules.hybrid:
        kinds.append([layer for layer in every if facts.n_head_kv[layer] and not facts.recurrent[layer]])
        kinds.append([layer for layer in every if facts.recurrent[layer]])
    held = {block.layer for block in blocks}
    return [kind[-1] for kind in kinds if kind and not held.intersection(kind)]


def _require_length(manifest: Manifest, rules: Architecture, span: Span, count: int) -> None:
    if count in rules.forbidden_lengths and count != manifest.facts.n_layers:
        raise Unsupported(
            f"Layers {span.first} to {span.last} of {manifest.name} cannot be a slice: llama.cpp takes "
            f"{manifest.facts.architecture} with {count} layers for another model."
        )
