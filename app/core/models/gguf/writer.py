"""Writes GGUF headers, as bytes."""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.core.models.gguf.metadata import Scalar
from app.core.models.gguf.types import MAGIC, PACK, VERSION, ValueType


class TensorEntry(NamedTuple):
    """One line of a tensor table; `offset` counts from the data region."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(key: str, kind: ValueType, value: Scalar) -> bytes:
    """One metadata field with a single value."""
    packed = text(str(value)) if kind == ValueType.STRING else struct.pack("<" + PACK[kind], value)
    return text(key) + struct.pack("<I", kind) + packed


def array_field(key: str, item: ValueType, values: Sequence[Scalar]) -> bytes:
    """One metadata field with an array."""
    if item == ValueType.STRING:
        packed = b"".join(text(str(value)) for value in values)
    else:
        packed = struct.pack(f"<{len(values)}{PACK[item]}", *values)
    return text(key) + struct.pack("<IIQ", ValueType.ARRAY, item, len(values)) + packed


def table(tensors: Iterable[TensorEntry]) -> bytes:
    """The tensor table."""
    lines = []
    for name, shape, kind, offset in tensors:
        extents = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        lines.append(text(name) + extents + struct.pack("<IQ", kind, offset))
    return b"".join(lines)


def preamble(n_tensors: int, n_fields: int) -> bytes:
    return MAGIC + struct.pack("<IQQ", VERSION, n_tensors, n_fields)
