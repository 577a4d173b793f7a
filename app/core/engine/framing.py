"""Frames between the node and a worker, on a socket pair that nobody else holds.

Layout: `[u32 header length][u32 payload length][header][payload]`, little-endian. Both lengths are
bounded before anything is allocated: a worker runs foreign model files, so the node trusts its frames
no more than a peer's.
"""

import struct
from typing import Final

MAX_HEADER: Final = 64 << 20
MAX_PAYLOAD: Final = 1 << 30
PREFIX: Final = struct.Struct("<II")


class FrameTooLarge(ValueError):
    """A frame announces more than the bounds allow; the connection cannot be used any more."""


def pack(header: bytes, payload: bytes | memoryview = b"") -> bytes:
    """One frame as bytes. Raises FrameTooLarge."""
    check(len(header), len(payload))
    return b"".join((PREFIX.pack(len(header), len(payload)), header, payload))


def sizes(prefix: bytes) -> tuple[int, int]:
    """Header and payload length from a frame's first 8 bytes. Raises FrameTooLarge."""
    header, payload = PREFIX.unpack(prefix)
    check(header, payload)
    return header, payload


def check(header: int, payload: int) -> None:
    if header > MAX_HEADER or payload > MAX_PAYLOAD:
        raise FrameTooLarge(f"a frame of {header} + {payload} bytes is over the bound")
