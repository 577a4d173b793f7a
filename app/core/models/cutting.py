"""Decides how a model is cut into shards. Pure: the result depends on the source's headers alone."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from app.core.models.cloning import BLOCK
from app.core.models.gguf.source import GgufSource, Placed
from app.core.models.gguf.types import padded
from app.core.models.manifest import (
    METADATA_HEADER,
    ShardKind,
    ShardRecord,
    SourceRange,
    TensorRecord,
    header_region,
)

BLOCK_NAME: Final = re.compile(r"^blk\.(\d{1,5})\.(.+)$")
HEAD_NAMES: Final = frozenset({"output.weight", "output.bias", "output_norm.weight", "output_norm.bias"})
HEAD_NORM_OF: Final = {"lfm2": "token_embd_norm.weight", "lfm2moe": "token_embd_norm.weight"}
MIN_SHARDS: Final = 8
DROPPED_FIELDS: Final = ("split.", "swarm.")


class _Group(NamedTuple):
    kind: ShardKind
    first: int
    last: int
    tensors: list[Placed]


def plan_shards(
    source: GgufSource, architecture: str, n_blocks: int, shard_size: int
) -> tuple[ShardRecord, ...]:
    """The shards of `source`, without their hashes.

    Consecutive layers share a shard as long as its data stays within `shard_size` bytes and within an
    eighth of all layers' data, so that small models can be divided too. A layer that is larger alone has a
    shard of its own.
    """
    groups = _groups(source, architecture, n_blocks, shard_size)
    shards = [_metadata_shard(source)]
    shards += [_shard(number, group, source.alignment) for number, group in enumerate(groups, start=1)]
    return tuple(shards)


def block_number(name: str) -> int | None:
    """The layer that the tensor `name` belongs to, if it belongs to one."""
    match = BLOCK_NAME.match(name)
    return int(match[1]) if match else None


def _groups(source: GgufSource, architecture: str, n_blocks: int, shard_size: int) -> list[_Group]:
    layers: list[list[Placed]] = [[] for _ in range(n_blocks)]
    single: dict[ShardKind, list[Placed]] = {"embedding": [], "globals": [], "head": []}
    for placed in source.tensors():
        block = block_number(placed.tensor.name)
        if block is not None and block < n_blocks:
            layers[block].append(placed)
        else:
            single[_kind(placed.tensor.name, architecture)].append(placed)
    before: list[_Group] = [_Group(kind, 0, 0, single[kind]) for kind in ("embedding", "globals")]
    after: list[_Group] = [_Group("head", 0, 0, single["head"])]
    return [
        group
        for group in [*before, *_layer_groups(layers, shard_size), *after]
        if group.tensors or group.last
    ]


def _kind(name: str, architecture: str) -> ShardKind:
    if name == "token_embd.weight":
        return "embedding"
    if name in HEAD_NAMES or name == HEAD_NORM_OF.get(architecture):
        return "head"
    return "globals"


def _layer_groups(layers: Sequence[list[Placed]], shard_size: int) -> Iterable[_Group]:
    limit = min(shard_size, sum(placed.tensor.size for held in layers for placed in held) // MIN_SHARDS)
    first, held, size = 0, list[Placed](), 0
    for number, tensors in enumerate(layers):
        layer_size = sum(placed.tensor.size for placed in tensors)
        if number > first and size + layer_size > limit:
            yield _Group("layers", first, number, held)
            first, held, size = number, [], 0
        held.extend(sorted(tensors, key=_place))
        size += layer_size
    if layers:
        yield _Group("layers", first, len(layers), held)


def _place(placed: Placed) -> tuple[int, int]:
    return placed.file, placed.start


def _shard(index: int, group: _Group, alignment: int) -> ShardRecord:
    ordered = group.tensors if group.kind == "layers" else sorted(group.tensors, key=_place)
    ranges: list[SourceRange] = []
    records: list[TensorRecord] = []
    end = 0
    for tensor, file, start in ordered:
        offset = padded(end, alignment)
        last = ranges[-1] if ranges else None
        if last and last.file == file and padded(last.start + last.length, alignment) == start:
            ranges[-1] = SourceRange(file, last.start, start + tensor.size - last.start)
        else:
            ranges.append(SourceRange(file, start, tensor.size))
        records.append(TensorRecord(tensor.name, tensor.shape, tensor.kind, offset))
        end = offset + tensor.size
    skew = ranges[0].start % BLOCK if ranges else 0
    return ShardRecord(
        index=index,
        kind=group.kind,
        file=f"{index:03d}-{group.kind}.gguf",
        first=group.first,
        last=group.last,
        # equal places within a page let filesystems share the source's blocks instead of copying them
        header_bytes=header_region(records) + skew,
        data_bytes=end,
        blake3="",
        ranges=tuple(ranges),
        tensors=tuple(records),
    )


def _metadata_shard(source: GgufSource) -> ShardRecord:
    kept = [field for key, field in source.metadata.fields.items() if not key.startswith(DROPPED_FIELDS)]
    ranges: list[SourceRange] = []
    for field in kept:
        last = ranges[-1] if ranges else None
        if last and last.start + last.length == field.start:
            ranges[-1] = SourceRange(0, last.start, field.end - last.start)
        else:
            ranges.append(SourceRange(0, field.start, field.end - field.start))
    return ShardRecord(
        index=0,
        kind="metadata",
        file="000-metadata.gguf",
        header_bytes=METADATA_HEADER,
        data_bytes=sum(part.length for part in ranges),
        blake3="",
        ranges=tuple(ranges),
        fields=len(kept),
    )
