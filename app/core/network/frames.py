"""Frames of `/swarmllm/1.0.0`, sans-IO.

Layout, big-endian: `[u8 tag][u8 flags][u32 header length][u32 payload length][header][payload]`, and 28 more
bytes when the frame is sealed (sessions.py). The tag says what the header is: JSON for control messages,
otherwise the msgpack struct of that tag. Both lengths are checked against the tag's bounds before one byte of
them is awaited, so a peer can make this node hold at most one frame of the largest kind it accepts.
"""

import struct
from enum import IntEnum
from typing import Final

import msgspec

from app.core.kernel.errors import NetworkError

PROTOCOL: Final = "/swarmllm/1.0.0"
PREFIX: Final = struct.Struct(">BBII")
SEALED: Final = 0x01
SEAL_BYTES: Final = 28


class Tag(IntEnum):
    """The five kinds of frame."""

    JSON = 0x00
    TENSOR = 0x01
    TENSOR_COMPRESSED = 0x02
    SHARD = 0x03
    PREFIX_KV = 0x04


MAX_HEADER: Final = {
    Tag.JSON: 4 << 20,
    Tag.TENSOR: 4096,
    Tag.TENSOR_COMPRESSED: 4096,
    Tag.SHARD: 4096,
    Tag.PREFIX_KV: 64 << 10,
}
MAX_PAYLOAD: Final = {
    Tag.JSON: 0,
    Tag.TENSOR: 64 << 20,
    Tag.TENSOR_COMPRESSED: 64 << 20,
    Tag.SHARD: 32 << 20,
    Tag.PREFIX_KV: 64 << 20,
}


class BadFrame(NetworkError):
    """A peer sent bytes that are no frame, or one over its bounds; the stream cannot be used any more."""

    code = "bad_frame"


class Frame(msgspec.Struct, frozen=True):
    """One frame. `payload` of a sealed frame is the ciphertext of header and payload, `header` is empty."""

    tag: Tag
    header: bytes
    payload: bytes = b""


class Prefix(msgspec.Struct, frozen=True):
    """A frame's checked first ten bytes."""

    tag: Tag
    sealed: bool
    header: int
    payload: int

    @property
    def body(self) -> int:
        """Bytes that follow the prefix."""
        return self.header + self.payload + (SEAL_BYTES if self.sealed else 0)

    def pack(self) -> bytes:
        return PREFIX.pack(self.tag, SEALED if self.sealed else 0, self.header, self.payload)


def prefix_for(frame: Frame, *, sealed: bool) -> Prefix:
    """The prefix that announces `frame`. Raises BadFrame when it is over the bounds of its tag."""
    prefix = Prefix(frame.tag, sealed, len(frame.header), len(frame.payload))
    _check(prefix)
    return prefix


def parse_prefix(data: bytes | bytearray | memoryview) -> Prefix:
    """The prefix in the first ten bytes of `data`. Raises BadFrame."""
    tag, flags, header, payload = PREFIX.unpack_from(data)
    if tag not in _KNOWN:
        raise BadFrame(f"A peer sent a frame of the unknown kind {tag}.")
    if flags & ~SEALED:
        raise BadFrame("A peer sent a frame with unknown flags.")
    prefix = Prefix(Tag(tag), bool(flags & SEALED), header, payload)
    _check(prefix)
    return prefix


def pack(frame: Frame) -> bytes:
    """`frame` as it goes over the wire unsealed, in one buffer. Raises BadFrame."""
    return b"".join((prefix_for(frame, sealed=False).pack(), frame.header, frame.payload))


class Packet(msgspec.Struct, frozen=True):
    """A frame as it came: the prefix and the body that it announced, still sealed where it says so."""

    prefix: Prefix
    body: bytes

    def frame(self) -> Frame:
        """The frame of an unsealed packet."""
        return split(self.prefix, self.body)


def split(prefix: Prefix, body: bytes) -> Frame:
    """The frame whose header and payload `body` holds one after the other. Raises BadFrame."""
    if len(body) != prefix.header + prefix.payload:
        raise BadFrame("A frame's body does not have the announced length.")
    return Frame(prefix.tag, body[: prefix.header], body[prefix.header :])


class Decoder:
    """Bytes in, packets out. After a BadFrame it accepts nothing more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._prefix: Prefix | None = None
        self._broken = False

    @property
    def wanted(self) -> int:
        """How many more bytes the frame in progress needs; at least 1."""
        need = PREFIX.size if self._prefix is None else self._prefix.body
        return max(1, need - len(self._buffer))

    @property
    def idle(self) -> bool:
        """Whether the bytes so far end exactly at the end of a frame."""
        return self._prefix is None and not self._buffer

    def feed(self, data: bytes) -> list[Packet]:
        """The packets completed by `data`. Raises BadFrame."""
        if self._broken:
            raise BadFrame("The stream has already sent a broken frame.")
        self._buffer += data
        packets = []
        try:
            while (packet := self._next()) is not None:
                packets.append(packet)
        except BadFrame:
            self._broken = True
            self._buffer.clear()
            raise
        return packets

    def _next(self) -> Packet | None:
        if self._prefix is None:
            if len(self._buffer) < PREFIX.size:
                return None
            self._prefix = parse_prefix(self._buffer)
            del self._buffer[: PREFIX.size]
        size = self._prefix.body
        if len(self._buffer) < size:
            return None
        packet = Packet(self._prefix, bytes(memoryview(self._buffer)[:size]))
        del self._buffer[:size]
        self._prefix = None
        return packet


_KNOWN: Final = frozenset(int(tag) for tag in Tag)


def _check(prefix: Prefix) -> None:
    if prefix.header > MAX_HEADER[prefix.tag]:
        raise BadFrame(f"A {prefix.tag.name} frame's header of {prefix.header} bytes is over the bound.")
    if prefix.payload > MAX_PAYLOAD[prefix.tag]:
        raise BadFrame(f"A {prefix.tag.name} frame's payload of {prefix.payload} bytes is over the bound.")
