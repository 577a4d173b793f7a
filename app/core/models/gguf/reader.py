"""Reads GGUF headers, trusting nothing.

The parser works on the bytes it is given and on the size of the whole file, so it serves local files and
remote ones (by range requests) alike. Every count, length, type and offset is checked before anything is
done with it; memory grows with the bytes that are really there, never with a number the file states. What
a file says that llama.cpp would refuse is refused here, in a sentence.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.metadata import Field, Metadata
from app.core.models.gguf.types import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    PACK,
    TENSOR_TYPES,
    ValueType,
    padded,
    tensor_bytes,
)

MAX_HEADER_BYTES: Final = 256 << 20
MAX_FIELDS: Final = 16_384
MAX_TENSORS: Final = 131_072
MAX_KEY_BYTES: Final = 1_024
MAX_STRING_BYTES: Final = 16 << 20
MAX_ARRAY_ITEMS: Final = 4 << 20
MAX_NAME_BYTES: Final = 63
MAX_DIMENSIONS: Final = 4
MAX_ELEMENTS: Final = 1 << 48
MAX_ALIGNMENT: Final = 4_096
FIRST_READ: Final = 1 << 20


class HeaderIncomplete(Exception):
    """The header goes on beyond the bytes given; ask again with at least `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class Tensor(NamedTuple):
    """`shape` has the fastest dimension first, as in the file; `offset` counts from the data region."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


class GgufHeader(NamedTuple):
    """Everything before the data region, which begins at `data_offset` of a file of `file_size` bytes."""

    version: int
    alignment: int
    metadata: Metadata
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_size: int


class _Cursor:
    """Walks over the header's bytes; raises HeaderIncomplete or BadModelFile instead of passing the end."""

    def __init__(self, data: bytes | bytearray | memoryview, file_size: int) -> None:
        self.data = data
        self.position = 0
        self._limit = min(file_size, MAX_HEADER_BYTES)
        self._file_size = file_size

    def claim(self, size: int) -> int:
        """Moves past the next `size` bytes and returns where they begin."""
        start = self.position
        end = start + size
        if end > len(self.data):
            if end <= self._limit:
                raise HeaderIncomplete(end)
            if end <= self._file_size:
                raise BadModelFile(f"The GGUF header is larger than {MAX_HEADER_BYTES >> 20} MiB.")
            raise BadModelFile("The GGUF file ends in the middle of its header.")
        self.position = end
        return start

    def u32(self) -> int:
        value: int = struct.unpack_from("<I", self.data, self.claim(4))[0]
        return value

    def u64(self) -> int:
        value: int = struct.unpack_from("<Q", self.data, self.claim(8))[0]
        return value

    def string(self, limit: int, what: str) -> bytes:
        size = self.u64()
        if size > limit:
            raise BadModelFile(f"The GGUF file has {what} of {size} bytes; the limit is {limit}.")
        start = self.claim(size)
        return bytes(self.data[start : start + size])


def parse_header(data: bytes | bytearray | memoryview, file_size: int) -> GgufHeader:
    """The header of a GGUF file of `file_size` bytes that begins with `data`.

    Raises HeaderIncomplete if `data` does not hold all of it, BadModelFile if it is malformed.
    """
    cursor = _Cursor(data, file_size)
    version, n_tensors, n_fields = _preamble(cursor)
    fields_start = cursor.position
    fields = dict(_fields(cursor, n_fields))
    metadata = Metadata(bytes(data[fields_start : cursor.position]), fields, fields_start)
    alignment = _alignment(metadata)
    raw = [_tensor(cursor) for _ in range(n_tensors)]
    data_offset = padded(cursor.position, alignment) if raw else cursor.position
    tensors = _checked_layout(raw, alignment, file_size - data_offset)
    return GgufHeader(version, alignment, metadata, tensors, data_offset, file_size)


def _preamble(cursor: _Cursor) -> tuple[int, int, int]:
    start = cursor.claim(4)
    if bytes(cursor.data[start : start + 4]) != MAGIC:
        raise BadModelFile("This is not a GGUF file: it does not begin with 'GGUF'.")
    version = cursor.u32()
    if version not in {2, 3}:
        swapped = version & 0xFFFF == 0 and version >> 16
        reason = "big-endian GGUF files are" if swapped else f"GGUF version {version} is"
        raise BadModelFile(f"The file cannot be read: {reason} not supported.")
    n_tensors, n_fields = cursor.u64(), cursor.u64()
    if n_tensors > MAX_TENSORS:
        raise BadModelFile(f"The GGUF file claims {n_tensors} tensors; the limit is {MAX_TENSORS}.")
    if n_fields > MAX_FIELDS:
        raise BadModelFile(f"The GGUF file claims {n_fields} metadata fields; the limit is {MAX_FIELDS}.")
    return version, n_tensors, n_fields


def _fields(cursor: _Cursor, count: int) -> Iterator[tuple[str, Field]]:
    seen: set[str] = set()
    for _ in range(count):
        start = cursor.position
        key = _text(cursor.string(MAX_KEY_BYTES, "a metadata key"), "a metadata key")
        if not key or key in seen:
            raise BadModelFile(f"The GGUF file has {'two fields' if key else 'a field'} named {key!r}.")
        seen.add(key)
        kind = _value_type(cursor.u32(), key)
        if kind == ValueType.ARRAY:
            item, n_items, value = _array(cursor, key)
        else:
            item, n_items, value = kind, 0, cursor.position
            _skip_value(cursor, kind)
        yield key, Field(kind, item, n_items, value, start, cursor.position)


def _array(cursor: _Cursor, key: str) -> tuple[ValueType, int, int]:
    item = _value_type(cursor.u32(), key)
    count = cursor.u64()
    if item == ValueType.ARRAY:
        raise BadModelFile(f"The GGUF field {key!r} is an array of arrays, which is not supported.")
    if count > MAX_ARRAY_ITEMS:
        raise BadModelFile(
            f"The GGUF field {key!r} claims {count} array items; the limit is {MAX_ARRAY_ITEMS}."
        )
    value = cursor.position
    if item == ValueType.STRING:
        _skip_strings(cursor, count, key)
    else:
        cursor.claim(count * struct.calcsize(PACK[item]))
    return item, count, value


def _skip_strings(cursor: _Cursor, count: int, key: str) -> None:
    # vocabularies have hundreds of thousands of strings: everything in this loop is local
    data, size, position = cursor.data, len(cursor.data), cursor.position
    unpack = struct.Struct("<Q").unpack_from
    for _ in range(count):
        if position + 8 > size:
            cursor.position = position
            cursor.claim(8)
        length = unpack(data, position)[0]
        if length > MAX_STRING_BYTES:
            raise BadModelFile(f"The GGUF field {key!r} holds a string of {length} bytes.")
        position += 8 + length
    cursor.claim(position - cursor.position)


def _skip_value(cursor: _Cursor, kind: ValueType) -> None:
    if kind == ValueType.STRING:
        cursor.string(MAX_STRING_BYTES, "a metadata string")
    else:
        cursor.claim(struct.calcsize(PACK[kind]))


def _value_type(number: int, key: str) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        raise BadModelFile(f"The GGUF field {key!r} has the unknown value type {number}.") from None


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadModelFile(f"The GGUF file has {what} that is not UTF-8.") from None


def _alignment(metadata: Metadata) -> int:
    field = metadata.fields.get("general.alignment")
    if field is None:
        return DEFAULT_ALIGNMENT
    if field.kind != ValueType.UINT32:
        raise BadModelFile("The GGUF field 'general.alignment' is not a 32-bit number.")
    value = metadata.integer("general.alignment") or 0
    if not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
        raise BadModelFile(
            f"The GGUF alignment {value} is none of the powers of two from 8 to {MAX_ALIGNMENT}."
        )
    return value


def _tensor(cursor: _Cursor) -> Tensor:
    name = _text(cursor.string(MAX_NAME_BYTES, "a tensor name"), "a tensor name")
    n_dimensions = cursor.u32()
    if n_dimensions > MAX_DIMENSIONS:
        raise BadModelFile(f"The tensor {name!r} claims {n_dimensions} dimensions; the limit is 4.")
    shape = tuple(cursor.u64() for _ in range(n_dimensions))
    kind, offset = cursor.u32(), cursor.u64()
    if kind not in TENSOR_TYPES:
        raise BadModelFile(f"The tensor {name!r} has the unknown type {kind}.")
    count = 1
    for extent in shape:
        count *= extent
        if not 0 < extent <= MAX_ELEMENTS or count > MAX_ELEMENTS:
            raise BadModelFile(f"The tensor {name!r} has the impossible shape {list(shape)}.")
    if (shape[0] if shape else 1) % TENSOR_TYPES[kind].block:
        raise BadModelFile(f"The rows of the tensor {name!r} do not fit its type {TENSOR_TYPES[kind].name}.")
    return Tensor(name, shape, kind, offset, tensor_bytes(kind, shape))


def _checked_layout(tensors: list[Tensor], alignment: int, data_size: int) -> tuple[Tensor, ...]:
    """llama.cpp wants tensors in the order of their table, each right behind the last one's padding."""
    expected = 0
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names or not tensor.name:
            raise BadModelFile(f"The GGUF file has two tensors named {tensor.name!r}, or one without name.")
        names.add(tensor.name)
        if tensor.offset != expected:
            raise BadModelFile(
                f"The tensor {tensor.name!r} lies at offset {tensor.offset} of the data; {expected} is right."
            )
        if tensor.offset + tensor.size > data_size:
            raise BadModelFile(
                f"The file is too short: the tensor {tensor.name!r} ends "
                f"{tensor.offset + tensor.size - data_size} bytes behind it."
            )
        expected += padded(tensor.size, alignment)
    return tuple(tensors)


def read_header(path: Path) -> GgufHeader:
    """The header of the GGUF file at `path`. Raises BadModelFile if it is malformed or unreadable."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)

            def read(start: int, count: int) -> bytes:
                file.seek(start)
                return file.read(count)

            return read_header_with(read, size)
    except OSError as error:
        raise BadModelFile(
            f"The model file {path.name} cannot be read: {error.strerror or error}."
        ) from error


def read_header_with(read: Callable[[int, int], bytes], file_size: int) -> GgufHeader:
    """As `read_header`, from `read(start, count)`, which is asked for ever more of the file's beginning."""
    data = bytearray()
    wanted = min(FIRST_READ, file_size)
    while True:
        data += read(len(data), wanted - len(data))
        if len(data) < wanted:
            raise BadModelFile("The model file became shorter while it was read.")
        try:
            return parse_header(data, file_size)
        except HeaderIncomplete as more:
            wanted = min(max(more.needed, 2 * len(data)), file_size, MAX_HEADER_BYTES)
