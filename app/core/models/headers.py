"""The header region of a shard: which window of the model it currently belongs to.

A header is written in place over the region before the data, which is never touched. It carries a hash
of itself, so that a header torn by a crash is recognised; it is then simply written again, because
everything in it follows from the manifest.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from app.core.models.gguf.types import DEFAULT_ALIGNMENT, ValueType
from app.core.models.gguf.writer import TensorEntry, field, preamble, table, text
from app.core.models.manifest import METADATA_HEADER, RESERVED

CHECK_KEY: Final = "swarm.check"
_EMPTY_CHECK: Final = "0" * 64
_CHECK_START: Final = 24 + 8 + len(CHECK_KEY) + 4 + 8


class Place(NamedTuple):
    """Where a file stands in a set of splits: its number of how many, the tensors of all, and the window."""

    number: int
    total: int
    n_tensors: int
    window: str


def compose(
    *, size: int, architecture: str, alignment: int, place: Place, tensors: Sequence[TensorEntry]
) -> bytes:
    """A GGUF header of exactly `size` bytes for a file whose data region holds `tensors`."""
    fields = [field("general.architecture", ValueType.STRING, architecture)]
    if alignment != DEFAULT_ALIGNMENT:
        fields.append(field("general.alignment", ValueType.UINT32, alignment))
    return _sealed(size, [*fields, *_place_fields(place)], len(fields) + 4, len(tensors), table(tensors))


def compose_metadata(*, n_fields: int, place: Place) -> bytes:
    """The header before a metadata shard's `n_fields` fields: the file goes on with these fields."""
    return _sealed(METADATA_HEADER, _place_fields(place), 4 + n_fields, 0, b"")


def compose_window(
    *, fields: Sequence[bytes], place: Place, tensors: Sequence[TensorEntry], multiple: int
) -> bytes:
    """The header of a window's first file, as long as it needs to be in steps of `multiple` bytes."""
    tail = table(tensors)
    needed = RESERVED + sum(len(packed) for packed in fields) + len(tail)
    size = -(-needed // multiple) * multiple
    return _sealed(size, [*fields, *_place_fields(place)], len(fields) + 4, len(tensors), tail)


def intact(header: bytes) -> bool:
    """Whether a header region is what `compose` wrote, whole."""
    end = _CHECK_START + len(_EMPTY_CHECK)
    blank = header[:_CHECK_START] + _EMPTY_CHECK.encode() + header[end:]
    return header[_CHECK_START:end] == blake3(blank).hexdigest().encode()


def _place_fields(place: Place) -> list[bytes]:
    return [
        field("split.no", ValueType.UINT16, place.number),
        field("split.count", ValueType.UINT16, place.total),
        field("split.tensors.count", ValueType.INT32, place.n_tensors),
        field("swarm.window", ValueType.STRING, place.window),
    ]


def _sealed(size: int, fields: list[bytes], n_fields: int, n_tensors: int, tail: bytes) -> bytes:
    head = preamble(n_tensors, n_fields + 2) + field(CHECK_KEY, ValueType.STRING, _EMPTY_CHECK)
    body = b"".join(fields)
    frame = len(text("swarm.padding")) + 4 + 8
    room = size - len(head) - len(body) - len(tail) - frame
    if room < 0:
        raise ValueError(f"the header does not fit into {size} bytes")
    blank = head + body + field("swarm.padding", ValueType.STRING, " " * room) + tail
    check = blake3(blank).hexdigest().encode()
    return blank[:_CHECK_START] + check + blank[_CHECK_START + len(check) :]
