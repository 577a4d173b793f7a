"""Where each byte of a model's files belongs on disk, and in which pieces it is fetched. Pure.

Files are covered by *segments*: a range of a source file that lies in one shard, or in the rest (what
separates tensors; it is kept until the download ends, because a file's hash is over all of its bytes).
They are fetched in *pieces*, which are cut at multiples of the piece size, so that the same download
always has the same pieces and can be gone on with.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from app.core.models.gguf.types import padded
from app.core.models.manifest import Manifest, ShardRecord

REST: Final = -1
PIECE_BYTES: Final = 8 << 20


class Segment(NamedTuple):
    """`length` bytes from `start` on of file number `file`, which lie at `offset` of shard file `shard`."""

    file: int
    start: int
    length: int
    shard: int
    offset: int

    @property
    def end(self) -> int:
        return self.start + self.length


class Piece(NamedTuple):
    """What is fetched and proven at once."""

    file: int
    start: int
    length: int


class Layout:
    """`segments` of every file in order, and the `pieces` of those that are to be fetched."""

    def __init__(self, segments: Sequence[Sequence[Segment]], fetched: Collection[int], step: int) -> None:
        self.segments = segments
        self._starts = [[segment.start for segment in held] for held in segments]
        self.pieces = tuple(_pieces(segments, fetched, step))
        self.total = sum(piece.length for piece in self.pieces)
        self.rest_bytes = sum(part.length for held in segments for part in held if part.shard == REST)

    def within(self, file: int, start: int, length: int) -> Iterator[Segment]:
        """The parts of segments that make up this range of a file."""
        place = max(0, bisect_right(self._starts[file], start) - 1)
        end = start + length
        held = self.segments[file]
        for number in range(place, len(held)):
            segment = held[number]
            if segment.start >= end:
                return
            first, last = max(start, segment.start), min(end, segment.end)
            if first < last:
                offset = segment.offset + first - segment.start
                yield Segment(file, first, last - first, segment.shard, offset)

    def fingerprint(self) -> bytes:
        """Names the pieces and where they go: a journal that carries another one is of another download."""
        hasher = blake3(repr(self.pieces).encode())
        hasher.update(repr([list(held) for held in self.segments]).encode())
        return hasher.digest()


def plan_layout(
    manifest: Manifest,
    *,
    data_offsets: Sequence[int],
    wanted: Collection[int],
    whole: bool,
    step: int = PIECE_BYTES,
) -> Layout:
    """The layout for fetching the shards `wanted`; with `whole`, every byte between them as well.

    `data_offsets` tells for each file where its tensors begin; what is before is not fetched here.
    """
    segments: list[list[Segment]] = [[] for _ in data_offsets]
    for shard in manifest.shards:
        for segment in _of_shard(shard, manifest.alignment):
            segments[segment.file].append(segment)
    for held in segments:
        held.sort(key=lambda segment: segment.start)
    if whole:
        sizes = [file.size for file in manifest.source.files]
        segments = _with_rest(segments, data_offsets, sizes)
    return Layout(segments, {*wanted, REST}, step)


def _of_shard(shard: ShardRecord, alignment: int) -> Iterator[Segment]:
    if shard.kind == "metadata":
        return
    written = 0
    for part in shard.ranges:
        written = padded(written, alignment)
        yield Segment(part.file, part.start, part.length, shard.index, shard.header_bytes + written)
        written += part.length


def _with_rest(
    segments: Sequence[Sequence[Segment]], starts: Sequence[int], sizes: Sequence[int]
) -> list[list[Segment]]:
    """Fills the gaps, so that every byte from `starts` to the end is in a segment."""
    offset = 0
    filled: list[list[Segment]] = []
    for file, held in enumerate(segments):
        covered: list[Segment] = []
        position = starts[file]
        for segment in [*held, Segment(file, sizes[file], 0, REST, 0)]:
            gap = segment.start - position
            if gap > 0:
                covered.append(Segment(file, position, gap, REST, offset))
                offset += gap
            if segment.length:
                covered.append(segment)
            position = segment.end
        filled.append(covered)
    return filled


def _pieces(segments: Sequence[Sequence[Segment]], fetched: Collection[int], step: int) -> Iterator[Piece]:
    for file, held in enumerate(segments):
        start = end = -1
        for segment in (each for each in held if each.shard in fetched):
            if segment.start != end:
                yield from _cut(file, start, end, step)
                start = segment.start
            end = segment.end
        yield from _cut(file, start, end, step)


def _cut(file: int, start: int, end: int, step: int) -> Iterator[Piece]:
    while start < end:
        stop = min(end, (start // step + 1) * step)
        yield Piece(file, start, stop - start)
        start = stop
