"""One Yamux stream: its buffer, its windows and its two halves."""

import struct
from types import TracebackType
from typing import Final, Protocol

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from app.core.network.host.noise import MAX_PLAIN

HEADER: Final = struct.Struct(">BBHII")
DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
FIRST_WINDOW: Final = 256 << 10
LARGEST_WINDOW: Final = 4 << 20
MAX_DATA: Final = MAX_PLAIN - HEADER.size
GROW_SECONDS: Final = 0.5
BROKEN: Final = (IOException, RawConnError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class ProtocolError(Exception):
    """The peer does not keep to Yamux; the connection is closed."""


class Mux(Protocol):
    """What a stream needs of its connection."""

    async def send(
        self, kind: int, flags: int, stream_id: int, length: int, body: bytes | memoryview = b""
    ) -> None: ...

    def settle(self, stream: "YamuxStream") -> None: ...

    def get_remote_address(self) -> tuple[str, int] | None: ...


class YamuxStream(IMuxedStream):
    """One stream. Reads by one task at a time; writes by any number."""

    def __init__(self, mux: Mux, conn: IMuxedConn, stream_id: int) -> None:
        self.muxed_conn = conn
        self._mux = mux
        self.stream_id = stream_id
        self._buffer = bytearray()
        self._readable = trio.Event()
        self._credit = FIRST_WINDOW
        self._target = FIRST_WINDOW
        self._consumed = 0
        self._granted_at = trio.current_time()
        self._window = FIRST_WINDOW
        self._writable = trio.Event()
        self.send_closed = False
        self.recv_closed = False
        self.was_reset = False

    @property
    def closed(self) -> bool:
        return self.was_reset or (self.send_closed and self.recv_closed)

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, all that are there without `n`. Raises MuxedStreamEOF, MuxedStreamReset."""
        while not self._buffer:
            if self.was_reset:
                raise MuxedStreamReset("The stream was reset.")
            if self.recv_closed:
                raise MuxedStreamEOF("The peer has sent everything.")
            self._readable = trio.Event()
            await self._readable.wait()
        if n is None or n < 0 or n >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(memoryview(self._buffer)[:n])
            del self._buffer[:n]
        self._consumed += len(data)
        if self._consumed * 2 >= self._target and not self.recv_closed:
            await self._grant()
        return data

    async def _grant(self) -> None:
        now = trio.current_time()
        more = 0
        if now - self._granted_at < GROW_SECONDS and self._target < LARGEST_WINDOW:
            more = self._target
            self._target *= 2
        self._granted_at = now
        delta, self._consumed = self._consumed + more, 0
        self._credit += delta
        try:
            await self._mux.send(WINDOW, 0, self.stream_id, delta)
        except BROKEN:
            self.broken()

    async def write(self, data: bytes) -> None:
        """All of `data`, waiting for the reader as long as it takes. Raises MuxedStreamError."""
        view = memoryview(data)
        while view:
            await self._await_window()
            size = min(self._window, MAX_DATA, len(view))
            self._window -= size
            try:
                await self._mux.send(DATA, 0, self.stream_id, size, view[:size])
            except BROKEN:
                self.broken()
                raise MuxedStreamReset("The connection is gone.") from None
            view = view[size:]

    async def _await_window(self) -> None:
        while True:
            if self.was_reset:
                raise MuxedStreamReset("The stream was reset.")
            if self.send_closed:
                raise MuxedStreamClosed("The stream is closed for writing.")
            if self._window > 0:
                return
            self._writable = trio.Event()
            await self._writable.wait()

    async def close(self) -> None:
        """Says that nothing more will be written; what the peer still sends can be read."""
        if self.send_closed or self.was_reset:
            return
        self.send_closed = True
        self._writable.set()
        try:
            await self._mux.send(WINDOW, FIN, self.stream_id, 0)
        except BROKEN:
            self.broken()
        self._mux.settle(self)

    async def reset(self) -> None:
        """Ends both directions at once."""
        if self.closed:
            return
        self.broken()
        try:
            await self._mux.send(WINDOW, RST, self.stream_id, 0)
        except BROKEN:
            return

    def set_deadline(self, ttl: int) -> None:
        raise NotImplementedError("Yamux has no deadlines; cancel the read instead.")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._mux.get_remote_address()

    async def __aenter__(self) -> "YamuxStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def received(self, data: memoryview) -> None:
        """Bytes of a data frame. Raises ProtocolError when the peer has no credit for them."""
        self._credit -= len(data)
        if self._credit < 0:
            raise ProtocolError("The peer sent more than its window.")
        if self.recv_closed or self.was_reset:
            return
        self._buffer += data
        self._readable.set()

    def flagged(self, flags: int) -> None:
        """Takes FIN and RST in."""
        if flags & RST:
            self.broken()
        elif flags & FIN:
            self.recv_closed = True
            self._readable.set()
            self._mux.settle(self)

    def opened_by(self, delta: int) -> None:
        """The peer grants `delta` more bytes."""
        if self._window + delta > 1 << 32:
            raise ProtocolError("The peer grants an absurd window.")
        self._window += delta
        if self._window > 0:
            self._writable.set()

    def broken(self) -> None:
        """Ends both directions on this side."""
        self.was_reset = True
        self._readable.set()
        self._writable.set()
        self._mux.settle(self)
