"""Plans the files of a window: which shards under which headers, and what stands in the file before them.

Pure. llama.cpp takes a set of GGUF splits; the first holds the window's own metadata, the tensors every
slice needs of its own and stand-ins for those that a slice without embedding or head would lack. The
others are the shards themselves, whose headers name exactly the tensors that belong to the window.
"""

import math
import re
from typing import Final, Literal, NamedTuple

from app.core.models.architectures import Architecture
from app.core.models.cutting import BLOCK_NAME
from app.core.models.gguf.metadata import Metadata
from app.core.models.gguf.types import F16, F32
from app.core.models.manifest import Manifest, ShardRecord, TensorRecord
from app.core.models.slices.blocks import Block, Span, window_blocks
from app.core.models.slices.fields import DUMMY_VOCABULARY, window_fields

_Q4_0: Final = 2
ONES_IN_FILLERS: Final = re.compile(r"norm[^.]*\.weight$|output_scale|gate_inp_shexp")


class Stored(NamedTuple):
    """Bytes that lie in shard `shard` from `offset` of its data region on."""

    shard: int
    offset: int
    size: int


class OwnTensor(NamedTuple):
    """A tensor of the window's first file; "ones" are F32."""

    name: str
    shape: tuple[int, ...]
    kind: int
    content: Literal["zeros", "ones"] | Stored


class UsedTensor(NamedTuple):
    """A tensor of a shard, and what it is called in the window."""

    record: TensorRecord
    name: str


class ShardUse(NamedTuple):
    shard: ShardRecord
    tensors: tuple[UsedTensor, ...]

    @property
    def in_place(self) -> bool:
        """Whether the shard file itself serves: what it uses is the beginning of its data region."""
        return tuple(used.record for used in self.tensors) == self.shard.tensors[: len(self.tensors)]


class WindowPlan(NamedTuple):
    """Everything that decides a window's files; `id` differs wherever their contents do."""

    id: str
    span: Span
    fields: tuple[bytes, ...]
    own: tuple[OwnTensor, ...]
    shards: tuple[ShardUse, ...]
    capture: str | None
    position_rows: int
    input_scale: float
    exact_rollback: bool

    @property
    def n_tensors(self) -> int:
        return len(self.own) + sum(len(use.tensors) for use in self.shards)


def plan_window(manifest: Manifest, metadata: Metadata, rules: Architecture, span: Span) -> WindowPlan:
    """The plan of a slice. Raises Unsupported with the reason where the architecture forbids it."""
    blocks = window_blocks(manifest, rules, span)
    planner = _Planner(manifest, rules, span, blocks)
    uses = [*planner.embedding(), *planner.layers(), *planner.head()]
    own = (*planner.stand_ins(), *planner.globals(metadata), *planner.fillers())
    real = [number for number, block in enumerate(blocks) if block.real]
    facts = manifest.facts
    return WindowPlan(
        id=f"{span.first}-{span.last}{'-tokens' if span.tokens else ''}{'-logits' if span.logits else ''}",
        span=span,
        fields=tuple(window_fields(metadata, facts, rules, span, blocks)),
        own=own,
        shards=tuple(uses),
        capture=None if span.logits else f"{rules.capture}-{real[-1]}",
        position_rows=4 if rules.mrope == "yes" or (rules.mrope == "sections" and facts.rope_sections) else 1,
        input_scale=1 / math.sqrt(facts.n_embd) if rules.scales_vectors and span.first > 0 else 1.0,
        exact_rollback=rules.exact_rollback,
    )


class _Planner:
    """The tensors of one window, kind by kind."""

    def __init__(
        self, manifest: Manifest, rules: Architecture, span: Span, blocks: tuple[Block, ...]
    ) -> None:
        self._manifest = manifest
        self._facts = manifest.facts
        self._rules = rules
        self._span = span
        self._blocks = blocks
        self._head = manifest.shard_of("head")
        # a head without embedding: llama.cpp wants a table, and takes the output matrix for it
        self._renamed = (
            span.logits and not span.tokens and not self._facts.tied_output and rules.tied_fallback
        )

    def embedding(self) -> list[ShardUse]:
        needed = self._span.tokens or (self._span.logits and self._facts.tied_output)
        shard = self._manifest.shard_of("embedding")
        return [_all(shard)] if needed and shard else []

    def layers(self) -> list[ShardUse]:
        numbers = {block.layer: number for number, block in enumerate(self._blocks) if block.real}
        uses = []
        for shard in self._manifest.shards:
            if shard.kind == "layers":
                used = tuple(_renumbered(record, numbers) for record in shard.tensors)
                kept = tuple(tensor for tensor in used if tensor is not None)
                uses += [ShardUse(shard, kept)] if kept else []
        return uses

    def head(self) -> list[ShardUse]:
        if not self._span.logits or self._head is None:
            return []
        names = {"output.weight": "token_embd.weight"} if self._renamed else {}
        tensors = (UsedTensor(record, names.get(record.name, record.name)) for record in self._head.tensors)
        return [ShardUse(self._head, tuple(tensors))]

    def stand_ins(self) -> list[OwnTensor]:
        """Tensors that llama.cpp insists on and that this window never computes with."""
        width, out = self._facts.n_embd, list[OwnTensor]()
        whole_table = self._span.tokens or self._span.logits
        table = (width, self._facts.n_vocab if whole_table else DUMMY_VOCABULARY)
        kind = _Q4_0 if whole_table and width % 32 == 0 else F16
        if not self.embedding() and not self._renamed:
            out.append(OwnTensor("token_embd.weight", table, kind, "zeros"))
        if self._span.logits:
            return out
        held = {record.name: record for record in self._head.tensors} if self._head else {}
        norm = self._rules.head_norm
        if f"{norm}.weight" in held:
            out.append(OwnTensor(f"{norm}.weight", (width,), F32, "ones"))
        if f"{norm}.bias" in held:
            out.append(OwnTensor(f"{norm}.bias", (width,), F32, "zeros"))
        if not self._rules.tied_fallback and "output.weight" in held:
            out.append(OwnTensor("output.weight", table, kind, "zeros"))
            if "output.bias" in held:
                out.append(OwnTensor("output.bias", table[1:], F32, "zeros"))
        return out

    def globals(self, metadata: Metadata) -> list[OwnTensor]:
        """Small tensors that every slice has a copy of."""
        shard = self._manifest.shard_of("globals")
        out = []
        for record in shard.tensors if shard else ():
            if record.name == "rope_freqs.weight" and not self._has_full_attention(metadata):
                continue
            copied = record.name != "position_embd.weight" or self._span.first == 0
            place = Stored(shard.index, record.offset, record.size) if shard else None
            content: Literal["zeros"] | Stored = place if copied and place else "zeros"
            out.append(OwnTensor(record.name, record.shape, record.kind, content))
        return out

    def fillers(self) -> list[OwnTensor]:
        wanted = {block.layer for block in self._blocks if not block.real}
        shapes: dict[int, list[tuple[str, TensorRecord]]] = {layer: [] for layer in wanted}
        for shard in self._manifest.shards if wanted else ():
            for record in shard.tensors:
                match = BLOCK_NAME.match(record.name)
                if match and int(match[1]) in wanted:
                    shapes[int(match[1])].append((match[2], record))
        return [
            _filler(f"blk.{number}.{rest}", record)
            for number, block in enumerate(self._blocks)
            if not block.real
            for rest, record in shapes[block.layer]
        ]

    def _has_full_attention(self, metadata: Metadata) -> bool:
        """gemma4 asks for rope_freqs in its full-attention layers only."""
        key = f"{self._facts.architecture}.attention.sliding_window_pattern"
        if self._facts.architecture != "gemma4" or metadata.count(key) is None:
            return True
        windowed = metadata.array(key) or ()
        return not all(windowed[block.layer] for block in self._blocks)


def _all(shard: ShardRecord) -> ShardUse:
    return ShardUse(shard, tuple(UsedTensor(record, record.name) for record in shard.tensors))


def _renumbered(record: TensorRecord, numbers: dict[int, int]) -> UsedTensor | None:
    match = BLOCK_NAME.match(record.name)
    if match is None or int(match[1]) not in numbers:
        return None
    return UsedTensor(record, f"blk.{numbers[int(match[1])]}.{match[2]}")


def _filler(name: str, record: TensorRecord) -> OwnTensor:
    if ONES_IN_FILLERS.search(name):
        return OwnTensor(name, record.shape, F32, "ones")
    return OwnTensor(name, record.shape, record.kind, "zeros")
