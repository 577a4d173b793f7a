"""Looks tokens up in a model's embedding table, reading only their rows. Blocking, for threads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.core.kernel.errors import Conflict, InvalidRequest, Unsupported
from app.core.models.disk import disk_errors
from app.core.models.gguf.types import tensor_bytes
from app.core.models.manifest import TensorRecord
from app.core.models.store import Stored

if TYPE_CHECKING:
    import numpy as np


def embed_rows(model: Stored, tokens: Sequence[int]) -> bytes:
    """What enters the first layer: float32 [len(tokens), n_embd], row-major, scaled as the model wants.

    Raises InvalidRequest for a token outside the vocabulary, Conflict without the shard that holds it
    and Unsupported for a model that has no table.
    """
    manifest = model.manifest
    shard = manifest.shard_of("embedding")
    if shard is None:
        raise Unsupported(f"The model {manifest.name} has no embedding table.")
    if shard.index not in model.present:
        raise Conflict(f"The embedding of {manifest.name} is not on this node.")
    table = shard.tensors[0]
    bad = next((token for token in tokens if not 0 <= token < table.shape[1]), None)
    if not tokens:
        return b""
    if bad is not None:
        raise InvalidRequest(f"The token {bad} is not in the vocabulary of {manifest.name}.")
    with disk_errors(f"read the embedding of {manifest.name}"):
        raw = _read_rows(model, shard.header_bytes + table.offset, table, tokens)
    return _dequantized(raw, table, len(tokens), manifest.facts.embedding_scale).tobytes()


def _read_rows(model: Stored, start: int, table: TensorRecord, tokens: Sequence[int]) -> bytes:
    size = tensor_bytes(table.kind, table.shape[:1])
    shard = model.manifest.shard_of("embedding")
    rows = []
    with model.path(shard or model.manifest.shards[0]).open("rb") as file:
        for token in tokens:
            file.seek(start + token * size)
            rows.append(file.read(size))
    return b"".join(rows)


def _dequantized(raw: bytes, table: TensorRecord, count: int, scale: float) -> "np.ndarray":
    # numpy and gguf take a tenth of a second to import, which only nodes that embed for slices pay
    import numpy as np  # noqa: PLC0415
    from gguf import GGMLQuantizationType  # noqa: PLC0415
    from gguf.quants import dequantize  # noqa: PLC0415

    kind = GGMLQuantizationType(table.kind)
    data = np.frombuffer(raw, np.uint8).reshape(count, -1)
    if kind == GGMLQuantizationType.F32:
        rows = data.view(np.float32)
    elif kind == GGMLQuantizationType.F16:
        rows = data.view(np.float16).astype(np.float32)
    else:
        rows = dequantize(data, kind)
    scaled = rows if scale == 1.0 else rows * np.float32(scale)
    return np.ascontiguousarray(scaled, np.float32)
