"""The metadata of a GGUF file, decoded only when asked for: a vocabulary stays bytes until it is needed."""

import struct
from typing import NamedTuple

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.types import INTEGERS, PACK, ValueType

Scalar = bool | int | float | str


class Field(NamedTuple):
    """Where a field lies: `start` to `end` with key and type, its value from `value` on, in file offsets.

    `kind` is ARRAY for arrays, whose `items` items are of type `item`; otherwise `item` equals `kind`.
    """

    kind: ValueType
    item: ValueType
    items: int
    value: int
    start: int
    end: int


class Metadata:
    """Typed access to the fields of a header whose structure has been checked.

    Accessors return None for an absent field and raise BadModelFile for one of another type.
    """

    def __init__(self, raw: bytes, fields: dict[str, Field], base: int) -> None:
        self.fields = fields
        self._raw = raw
        self._base = base

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def raw(self, key: str) -> bytes:
        """The field as it stands in the file: key, type and value."""
        field = self.fields[key]
        return self._raw[field.start - self._base : field.end - self._base]

    def integer(self, key: str) -> int | None:
        value = self.scalar(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadModelFile(f"The GGUF field {key!r} is not a whole number.")
        return value

    def number(self, key: str) -> float | None:
        value = self.scalar(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadModelFile(f"The GGUF field {key!r} is not a number.")
        return value

    def text(self, key: str) -> str | None:
        value = self.scalar(key)
        if value is not None and not isinstance(value, str):
            raise BadModelFile(f"The GGUF field {key!r} is not a text.")
        return value

    def scalar(self, key: str) -> Scalar | None:
        field = self.fields.get(key)
        if field is None:
            return None
        if field.kind == ValueType.ARRAY:
            raise BadModelFile(f"The GGUF field {key!r} is an array where a single value is expected.")
        return self._decode(field.kind, field.value - self._base)[0]

    def array(self, key: str) -> tuple[Scalar, ...] | None:
        field = self.fields.get(key)
        if field is None:
            return None
        if field.kind != ValueType.ARRAY:
            raise BadModelFile(f"The GGUF field {key!r} is a single value where an array is expected.")
        position = field.value - self._base
        if field.item != ValueType.STRING:
            return struct.unpack_from(f"<{field.items}{PACK[field.item]}", self._raw, position)
        items: list[Scalar] = []
        for _ in range(field.items):
            item, position = self._decode(ValueType.STRING, position)
            items.append(item)
        return tuple(items)

    def count(self, key: str) -> int | None:
        """How many items the array `key` has; None if absent or no array."""
        field = self.fields.get(key)
        return field.items if field is not None and field.kind == ValueType.ARRAY else None

    def integers(self, key: str, count: int) -> tuple[int, ...] | None:
        """`count` whole numbers: an array of that many, or one number that holds for all."""
        field = self.fields.get(key)
        if field is None:
            return None
        if field.kind == ValueType.ARRAY:
            values = self.array(key) if field.item in INTEGERS | {ValueType.BOOL} else None
            if values is None or len(values) < count:
                raise BadModelFile(f"The GGUF field {key!r} should hold {count} whole numbers.")
            return tuple(int(value) for value in values[:count])
        value = self.scalar(key)
        if not isinstance(value, int):
            raise BadModelFile(f"The GGUF field {key!r} is not a whole number.")
        return (int(value),) * count

    def _decode(self, kind: ValueType, position: int) -> tuple[Scalar, int]:
        if kind == ValueType.STRING:
            (size,) = struct.unpack_from("<Q", self._raw, position)
            end = position + 8 + size
            return self._raw[position + 8 : end].decode(errors="replace"), end
        pattern = "<" + PACK[kind]
        value: Scalar = struct.unpack_from(pattern, self._raw, position)[0]
        return value, position + struct.calcsize(pattern)
