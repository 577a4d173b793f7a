"""Frames over a worker's socket, on whatever loop runs: asyncio's own or Qt's.

A protocol instead of streams: a token's frame is parsed and handed on in the same call that read it,
without a task waking up in between.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import msgspec

from app.core.engine import framing
from app.core.engine.messages import Command, Report

log = logging.getLogger(__name__)


class FrameProtocol(asyncio.Protocol):
    """Calls `on_report(report, payload)` per frame and `on_closed()` once, when the worker is gone."""

    def __init__(self, *, on_report: Callable[[Report, bytes], None], on_closed: Callable[[], None]) -> None:
        self._on_report = on_report
        self._on_closed = on_closed
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    async def connect(self, sock: socket.socket) -> None:
        """Takes `sock` over."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, sock=sock)

    def send(self, command: Command, payload: bytes | memoryview = b"") -> None:
        """Writes one frame, or nothing if the worker is gone. Raises FrameTooLarge."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framing.pack(self._encoder.encode(command), payload))

    async def drained(self) -> None:
        """Waits while too much is waiting to be written."""
        await self._writable.wait()

    def close(self) -> None:
        """Ends the connection at once; `on_closed` follows."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._read_frames()
        except (framing.FrameTooLarge, ValueError, RecursionError) as error:
            log.warning("A worker sent a frame that is not valid: %s", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._writable.set()
        self._buffer.clear()
        self._on_closed()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _read_frames(self) -> None:
        buffer = self._buffer
        at = 0
        while len(buffer) - at >= framing.PREFIX.size:
            header, payload = framing.sizes(bytes(buffer[at : at + framing.PREFIX.size]))
            begin = at + framing.PREFIX.size
            end = begin + header + payload
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                report = self._decoder.decode(view[begin : begin + header])
                tensor = bytes(view[begin + header : end]) if payload else b""
            at = end
            self._on_report(report, tensor)
        if at:
            del buffer[:at]
