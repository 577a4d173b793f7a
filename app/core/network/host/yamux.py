"""Yamux (hashicorp/yamux, spec.md) over a secured connection, wire-compatible with every libp2p.

It takes the place of the stock one, which lets a peer overrun its window, blocks the whole connection when
nobody accepts a stream, polls for windows every 10 ms and gives up on a reader that pauses for five seconds.
Here a data frame fits one Noise message, credit goes back once half a window is consumed, writers wait for
credit by event and for as long as it takes, and what a peer can make this side hold is bounded: its streams
by MAX_STREAMS, each stream by its window, which grows from 256 KiB to 4 MiB while a reader keeps up.
"""

import contextlib
from typing import Final

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from multiaddr.multiaddr import Multiaddr

from app.core.network.host.yamux_stream import (
    ACK,
    BROKEN,
    DATA,
    GO_AWAY,
    HEADER,
    LARGEST_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW,
    ProtocolError,
    YamuxStream,
)

MAX_STREAMS: Final = 512
GOODBYE_SECONDS: Final = 0.25


class YamuxConn(IMuxedConn):
    """A connection of many streams; `start` runs until it is closed."""

    def __init__(self, conn: ISecureConn, peer_id: ID) -> None:
        self.secured_conn = conn
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self._initiator = conn.is_initiator
        self._next_id = 1 if self._initiator else 2
        self._streams: dict[int, YamuxStream] = {}
        self._theirs = 0
        self._accept, self._accepted = trio.open_memory_channel[YamuxStream](MAX_STREAMS)
        self._sending = trio.Lock()
        self._closing = False
        self._pending: list[bytes] = []
        self._replies = trio.Event()
        self._current: YamuxStream | None = None
        self._remaining = 0
        self._flags = 0

    @property
    def is_initiator(self) -> bool:
        return self._initiator

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self._closing

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.secured_conn.get_remote_address()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def start(self) -> None:
        """Reads until the connection ends, by either side or by a breach of the protocol."""
        self.event_started.set()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_replies)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self.close()

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while not self._closing:
                buffer += await self.secured_conn.read(None)
                used = self._parse(buffer)
                del buffer[:used]
        except (*BROKEN, ProtocolError):
            return

    def _parse(self, buffer: bytearray) -> int:
        at = 0
        with memoryview(buffer) as view:
            while at < len(view):
                if self._remaining:
                    size = min(self._remaining, len(view) - at)
                    if self._current is not None:
                        with view[at : at + size] as part:
                            self._current.received(part)
                    self._remaining -= size
                    at += size
                    if not self._remaining:
                        self._end_of_data()
                    continue
                if len(view) - at < HEADER.size:
                    break
                self._header(*HEADER.unpack_from(view, at))
                at += HEADER.size
        return at

    def _header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            raise ProtocolError("The peer speaks another Yamux.")
        if kind == PING:
            if flags & SYN:
                self._pong(length)
        elif kind == GO_AWAY:
            raise ProtocolError("The peer says goodbye.")
        else:
            self._on_stream(kind, flags, stream_id, length)

    def _on_stream(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        stream = self._streams.get(stream_id)
        if flags & SYN:
            if stream is not None or stream_id % 2 == self._next_id % 2:
                raise ProtocolError("The peer opened a stream that is not its to open.")
            stream = self._incoming(stream_id)
        if kind == DATA:
            if length > LARGEST_WINDOW:
                raise ProtocolError("The peer announced an oversized frame.")
            self._current, self._remaining, self._flags = stream, length, flags
            if not length:
                self._end_of_data()
        elif stream is not None:
            stream.opened_by(length)
            stream.flagged(flags)

    def _end_of_data(self) -> None:
        if self._current is not None:
            self._current.flagged(self._flags)
        self._current = None

    def _incoming(self, stream_id: int) -> YamuxStream | None:
        if self._theirs >= MAX_STREAMS:
            self._reply(WINDOW, RST, stream_id)
            return None
        stream = YamuxStream(self, self, stream_id)
        try:
            self._accept.send_nowait(stream)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._reply(WINDOW, RST, stream_id)
            return None
        self._streams[stream_id] = stream
        self._theirs += 1
        self._reply(WINDOW, ACK, stream_id)
        return stream

    def _pong(self, value: int) -> None:
        self._reply(PING, ACK, 0, value)

    def _reply(self, kind: int, flags: int, stream_id: int, length: int = 0) -> None:
        if len(self._pending) >= 4 * MAX_STREAMS:
            raise ProtocolError("The peer asks for more answers than it reads.")
        self._pending.append(HEADER.pack(0, kind, flags, stream_id, length))
        self._replies.set()

    async def _send_replies(self) -> None:
        while True:
            await self._replies.wait()
            self._replies = trio.Event()
            data, self._pending = b"".join(self._pending), []
            try:
                async with self._sending:
                    await self.secured_conn.write(data)
            except BROKEN:
                return

    async def send(
        self, kind: int, flags: int, stream_id: int, length: int, body: bytes | memoryview = b""
    ) -> None:
        """One frame, after those that are waiting. Once begun it is not cancelled: half a frame ends all."""
        frame = b"".join((HEADER.pack(0, kind, flags, stream_id, length), body))
        async with self._sending:
            if self._closing:
                raise trio.ClosedResourceError("The connection is closed.")
            with trio.CancelScope(shield=True):
                await self.secured_conn.write(frame)

    async def open_stream(self) -> YamuxStream:
        """A new stream. Raises MuxedStreamError."""
        if self._closing:
            raise MuxedStreamError("The connection is closed.")
        stream = YamuxStream(self, self, self._next_id)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        try:
            await self.send(WINDOW, SYN, stream.stream_id, 0)
        except BROKEN:
            stream.broken()
            raise MuxedStreamError("The connection is gone.") from None
        return stream

    async def accept_stream(self) -> IMuxedStream:
        """The next stream that the peer opened. Raises MuxedConnUnavailable when there will be none."""
        try:
            return await self._accepted.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise MuxedConnUnavailable("The connection is closed.") from None

    def settle(self, stream: YamuxStream) -> None:
        """Forgets a stream that both sides are done with."""
        if stream.closed and self._streams.pop(stream.stream_id, None) is not None:
            self._theirs -= stream.stream_id % 2 != self._next_id % 2

    async def close(self) -> None:
        """Ends every stream, says goodbye if the peer takes it at once, and closes the socket."""
        if self._closing:
            await self.event_closed.wait()
            return
        self._closing = True
        self._accept.close()
        for stream in tuple(self._streams.values()):
            stream.broken()
        try:
            with trio.move_on_after(GOODBYE_SECONDS), contextlib.suppress(*BROKEN):
                async with self._sending:
                    await self.secured_conn.write(HEADER.pack(0, GO_AWAY, 0, 0, 0))
        finally:
            shield, limit = trio.CancelScope(shield=True), trio.move_on_after(GOODBYE_SECONDS)
            with shield, limit, contextlib.suppress(*BROKEN):
                await self.secured_conn.close()
            self.event_closed.set()
