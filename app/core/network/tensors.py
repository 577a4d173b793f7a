"""Tensors on the wire: f32, f16 or Q8_0, with zstd above a threshold where it pays.

Values are row-major float32 in and out. Q8_0 is GGUF's: blocks of 32 values, an f16 scale and 32 int8, so its
last axis is a multiple of 32. A received header is believed only after its shape, its size and the size that
zstd claims agree; decompression never makes more than the shape allows.
"""

import math
from typing import Any, Final, Literal

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from app.core.network.frames import MAX_PAYLOAD, BadFrame, Frame, Tag

BLOCK: Final = 32
MAX_AXES: Final = 4
MAX_META: Final = 2048
_BLOCK_TYPE: Final = np.dtype([("scale", "<f2"), ("values", "i1", (BLOCK,))])

Coding = Literal["f32", "f16", "q8_0"]


class TensorHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of a tensor frame. `about` is the sender's own msgpack struct, up to 2 KiB."""

    coding: Coding
    shape: tuple[int, ...]
    zstd: bool = False
    about: bytes = b""


_decode = msgspec.msgpack.Decoder(TensorHeader).decode


class TensorCodec:
    """Encodes with fixed settings and decodes anything that a peer may send.

    `threshold` is the smallest payload in bytes that is compressed, None for never; `level` is zstd's.
    A compressed payload that is not at least a sixteenth smaller is sent as it was.
    """

    def __init__(self, *, coding: Coding = "f16", threshold: int | None = None, level: int = 1) -> None:
        self._coding = coding
        self._threshold = threshold
        self._compress = zstandard.ZstdCompressor(level=level)

    def encode(self, values: NDArray[np.float32], about: bytes = b"") -> Frame:
        """`values` as a frame. Raises BadFrame when they are over the bounds of a frame."""
        if len(about) > MAX_META:
            raise BadFrame("A tensor's description is over the bound.")
        payload, zstd = _pack(values, self._coding), False
        if self._threshold is not None and len(payload) >= self._threshold:
            smaller = self._compress.compress(payload)
            if len(smaller) < len(payload) - len(payload) // 16:
                payload, zstd = smaller, True
        header = TensorHeader(coding=self._coding, shape=values.shape, zstd=zstd, about=about)
        _size(header)
        tag = Tag.TENSOR_COMPRESSED if self._coding == "q8_0" else Tag.TENSOR
        return Frame(tag, msgspec.msgpack.encode(header), payload)


def decode_tensor(frame: Frame) -> tuple[NDArray[np.float32], bytes]:
    """The values and the sender's description of a tensor frame. Raises BadFrame."""
    if frame.tag not in (Tag.TENSOR, Tag.TENSOR_COMPRESSED):
        raise BadFrame("A peer sent another frame where a tensor belongs.")
    try:
        header = _decode(frame.header)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadFrame("A tensor's header cannot be read.") from None
    if (header.coding == "q8_0") != (frame.tag is Tag.TENSOR_COMPRESSED):
        raise BadFrame("A tensor's coding does not belong in its kind of frame.")
    size = _size(header)
    payload = _inflate(frame.payload, size) if header.zstd else frame.payload
    if len(payload) != size:
        raise BadFrame("A tensor's payload does not have the size of its shape.")
    return _unpack(payload, header), header.about


def _size(header: TensorHeader) -> int:
    shape = header.shape
    if not 1 <= len(shape) <= MAX_AXES or any(not 0 < axis <= 1 << 26 for axis in shape):
        raise BadFrame("A tensor's shape is over the bounds.")
    if len(header.about) > MAX_META:
        raise BadFrame("A tensor's description is over the bound.")
    count = math.prod(shape)
    if header.coding == "q8_0":
        if shape[-1] % BLOCK:
            raise BadFrame("A Q8_0 tensor's last axis is no multiple of 32.")
        size = count // BLOCK * _BLOCK_TYPE.itemsize
    else:
        size = count * (4 if header.coding == "f32" else 2)
    if size > MAX_PAYLOAD[Tag.TENSOR]:
        raise BadFrame("A tensor is over the bound of a frame.")
    return size


def _inflate(payload: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(payload) != size:
            raise BadFrame("A compressed tensor does not have the size of its shape.")
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    except zstandard.ZstdError:
        raise BadFrame("A compressed tensor cannot be unpacked.") from None


def _pack(values: NDArray[np.float32], coding: Coding) -> bytes:
    match coding:
        case "f32":
            return values.astype("<f4", copy=False).tobytes()
        case "f16":
            return np.clip(values, -65504.0, 65504.0).astype("<f2").tobytes()
        case "q8_0":
            return _quantize(values)


def _unpack(payload: bytes, header: TensorHeader) -> NDArray[np.float32]:
    raw: NDArray[Any]
    if header.coding == "q8_0":
        blocks = np.frombuffer(payload, _BLOCK_TYPE)
        raw = blocks["values"] * blocks["scale"].astype(np.float32)[:, None]
    else:
        raw = np.frombuffer(payload, "<f4" if header.coding == "f32" else "<f2")
    return raw.reshape(header.shape).astype(np.float32)


def _quantize(values: NDArray[np.float32]) -> bytes:
    if values.shape[-1] % BLOCK:
        raise BadFrame("A Q8_0 tensor's last axis is no multiple of 32.")
    rows = values.astype(np.float32, copy=False).reshape(-1, BLOCK)
    blocks = np.empty(len(rows), _BLOCK_TYPE)
    scale = (np.abs(rows).max(axis=1) / 127).clip(max=65504.0)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    blocks["scale"] = scale
    blocks["values"] = np.rint(rows * inverse[:, None]).clip(-127, 127)
    return blocks.tobytes()
