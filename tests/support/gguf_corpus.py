"""Small GGUF files to mutate, and a writer of malformed ones."""

import io
import struct
from typing import Any

from app.core.models.gguf.types import ValueType
from app.core.models.gguf.writer import TensorEntry, array_field, field, preamble, table


def file_of(
    *,
    fields: list[bytes] | None = None,
    tensors: list[TensorEntry] | None = None,
    data: int = 0,
    n_fields: int | None = None,
    n_tensors: int | None = None,
    version: int = 3,
    magic: bytes = b"GGUF",
) -> bytes:
    """A GGUF file of these parts; counts may lie."""
    fields, tensors = fields or [], tensors or []
    out = io.BytesIO()
    out.write(
        preamble(
            len(tensors) if n_tensors is None else n_tensors, len(fields) if n_fields is None else n_fields
        )
    )
    out.write(b"".join(fields) + table(tensors))
    if tensors:
        out.write(bytes(-out.tell() % 32 + data))
    raw = bytearray(out.getvalue())
    raw[:8] = magic + struct.pack("<I", version)
    return bytes(raw)


def text_field(key: str, value: str) -> bytes:
    return field(key, ValueType.STRING, value)


def number_field(key: str, value: int) -> bytes:
    return field(key, ValueType.UINT32, value)


def ordinary() -> bytes:
    """A well-formed file with a bit of everything."""
    tensors = [
        TensorEntry("token_embd.weight", (32, 40), 1, 0),
        TensorEntry("blk.0.attn_q.weight", (32, 32), 8, 2_560),
        TensorEntry("blk.1.attn_q.weight", (32, 32), 0, 3_648),
        TensorEntry("output_norm.weight", (32,), 0, 7_744),
    ]
    values: dict[ValueType, Any] = {kind: 1 for kind in ValueType if kind not in {8, 9}}
    fields = [
        text_field("general.architecture", "llama"),
        text_field("general.name", "Corpus"),
        number_field("llama.block_count", 2),
        number_field("llama.embedding_length", 32),
        number_field("llama.context_length", 128),
        number_field("llama.attention.head_count", 2),
        array_field("tokenizer.ggml.tokens", ValueType.STRING, ["<unk>", "a", "\u00e9"]),
        array_field("llama.attention.head_count_kv", ValueType.INT32, [2, 2]),
        *(field(f"x.{kind.name.lower()}", kind, value) for kind, value in values.items()),
    ]
    return file_of(fields=fields, tensors=tensors, data=7_872)
