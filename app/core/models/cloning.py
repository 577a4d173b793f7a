"""Copies ranges between files, sharing the filesystem's blocks instead where it can (reflink).

Linux has this on btrfs, XFS and bcachefs through the FICLONERANGE ioctl (ioctl_ficlonerange(2)): both
ranges must begin at the same place within a block. Elsewhere the bytes are copied.
"""

import struct
import sys
from typing import BinaryIO, Final

BLOCK: Final = 4_096
CHUNK: Final = 1 << 20
_FICLONERANGE: Final = 0x4020940D


def share_blocks(source: BinaryIO, start: int, target: BinaryIO, target_start: int, length: int) -> range:
    """Lets `target` share the whole blocks of a range of `source`; returns which of its bytes it shares.

    The result counts from the start of the range and is empty where nothing can be shared.
    """
    first = -start % BLOCK
    count = (length - first) // BLOCK * BLOCK
    if sys.platform != "linux" or count <= 0 or (start - target_start) % BLOCK:
        return range(0)
    import fcntl  # noqa: PLC0415 - there is none on Windows

    target.flush()
    order = struct.pack("=qQQQ", source.fileno(), start + first, count, target_start + first)
    try:
        fcntl.ioctl(target.fileno(), _FICLONERANGE, order)
    except OSError:
        return range(0)
    return range(first, first + count)


def copy_range(source: BinaryIO, start: int, target: BinaryIO, target_start: int, length: int) -> None:
    """Copies or shares `length` bytes. Raises EOFError if the source ends before."""
    shared = share_blocks(source, start, target, target_start, length)
    pieces = ((0, shared.start), (shared.stop, length)) if shared else ((0, length),)
    for begin, end in pieces:
        source.seek(start + begin)
        target.seek(target_start + begin)
        _copy(source, target, end - begin)


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length:
        data = source.read(min(length, CHUNK))
        if not data:
            raise EOFError("the source ended too early")
        target.write(data)
        length -= len(data)
