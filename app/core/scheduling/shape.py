"""What planning needs to know of a model: how large its parts are and where it may be cut.

A model is a row of `n_layers + 2` units: the embedding, the layers, the output head. Positions count the
borders between them: position 0 is before the embedding, 1 before layer 0, `n_layers + 1` before the head
and `n_layers + 2` at the end. A segment of a chain is what lies between two positions.
"""

from typing import NamedTuple

import msgspec


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    """One model; sizes in bytes.

    `width` is the length of a hidden state, `activation_bytes` what one of its values takes on the wire.
    `cache_bytes` is the KV cache of one layer for one token, `window_bytes` what a worker takes besides
    weights and cache. `cuts` are the layers before which a cut may be made: 0 says that the embedding may
    be apart from the first layer, `n_layers` that the head may be apart from the last; none of them means
    that the model runs whole only. Slices of a length in `forbidden_lengths` cannot be loaded; slices begin
    with up to `start_multiple - 1` filler layers, so that they begin at a multiple of it.
    """

    layer_bytes: tuple[int, ...]
    embedding_bytes: int = 0
    head_bytes: int = 0
    width: int
    activation_bytes: float = 2.0
    cache_bytes: int = 0
    window_bytes: int = 0
    cuts: tuple[int, ...] = ()
    forbidden_lengths: tuple[int, ...] = ()
    start_multiple: int = 1

    def __post_init__(self) -> None:
        if not self.layer_bytes or min(self.layer_bytes) <= 0 or self.start_multiple < 1:
            raise ValueError("a model has at least one layer, and every layer a size")

    @property
    def n_layers(self) -> int:
        return len(self.layer_bytes)

    @property
    def end(self) -> int:
        """The last position."""
        return len(self.layer_bytes) + 2

    @property
    def mean_layer(self) -> float:
        """Bytes of an average layer, which peers' speeds refer to."""
        return sum(self.layer_bytes) / len(self.layer_bytes)


class Segment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Layers `first` up to but not including `last`, with the embedding and the output head or without.

    The embedding alone is `first == last == 0`, the head alone `first == last == n_layers`.
    """

    first: int
    last: int
    embedding: bool = False
    head: bool = False


class Positions(NamedTuple):
    """A segment as positions."""

    start: int
    stop: int


def segment_of(shape: ModelShape, at: Positions) -> Segment:
    embedding, head = at.start == 0, at.stop == shape.end
    return Segment(
        first=min(max(0, at.start - 1), shape.n_layers),
        last=max(0, min(at.stop - 1, shape.n_layers)),
        embedding=embedding,
        head=head,
    )


def positions_of(shape: ModelShape, segment: Segment) -> Positions:
    start = 0 if segment.embedding else segment.first + 1
    return Positions(start, shape.end if segment.head else segment.last + 1)


class Scale:
    """Sums over the units before each position, so that any segment's share is one subtraction.

    `decode` counts units by size, in average layers, with the head; `prefill` without it, because only the
    last row of a prompt passes it. `weights` are bytes, `needs` bytes with the KV cache of `tokens` tokens.
    """

    def __init__(self, shape: ModelShape, tokens: int) -> None:
        self.shape = shape
        mean = self.mean_layer = shape.mean_layer
        self._end = shape.end
        self.forbidden = tuple(n for n in shape.forbidden_lengths if n != shape.n_layers)
        cache = shape.cache_bytes * tokens
        layers = [size / mean for size in shape.layer_bytes]
        self.decode = sums([0.0, *layers, shape.head_bytes / mean])
        self.prefill = sums([0.0, *layers, 0.0])
        self.weights = sums([shape.embedding_bytes, *shape.layer_bytes, shape.head_bytes])
        grown = [size + cache for size in shape.layer_bytes]
        self.needs = sums([shape.embedding_bytes, *grown, shape.head_bytes])
        self.allowed = frozenset(
            {0, shape.end, *(cut + 1 for cut in shape.cuts if 0 <= cut <= shape.n_layers)}
        )

    def fillers(self, start: int) -> int:
        """Filler layers in front of a segment that begins at this position."""
        multiple = self.shape.start_multiple
        return 0 if multiple == 1 or start > self._end - 2 else max(0, start - 1) % multiple

    def need(self, at: Positions) -> float:
        """Bytes of memory that a window of this segment takes."""
        fillers = self.fillers(at.start) * self.mean_layer
        return self.needs[at.stop] - self.needs[at.start] + fillers + self.shape.window_bytes

    def may_be(self, at: Positions) -> bool:
        """Whether the model's rules allow this segment."""
        if at.start not in self.allowed or at.stop not in self.allowed:
            return False
        length = min(at.stop, self._end - 1) - max(1, at.start)
        whole = at == (0, self._end)
        return whole or length <= 0 or length + self.fillers(at.start) not in self.forbidden


def sums(values: list[float] | list[int]) -> list[float]:
    """What comes before each item, and all of them at the end."""
    out, total = [0.0], 0.0
    for value in values:
        total += value
        out.append(total)
    return out
