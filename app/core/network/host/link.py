"""A stream of frames between the two threads.

Packets go through a deque in each direction, and a thread is woken only when it said that it sleeps: a busy
stream crosses without a wake-up per frame. Each direction holds at most WINDOW bytes (and always room for one
frame), so a reader that pauses slows the peer's writer through Yamux, and a slow peer slows `send`; no other
stream notices. The flags are plain attributes: each is set before the condition is looked at again, on both
sides, and CPython runs both threads' bytecodes in one order.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from app.core.kernel.errors import NetworkError
from app.core.network.frames import BadFrame, Decoder, Packet
from app.core.network.host.thread import TrioThread

WINDOW: Final = 4 << 20
_READ: Final = 1 << 20


class StreamClosed(NetworkError):
    """The stream ended: the peer closed it, or the connection broke."""

    code = "stream_closed"


class Link:
    """One stream; the asyncio side uses `receive`, `send`, `finish` and `abort`, the Trio side `pump`.

    `on_bad` is called in the Trio thread when the peer sends what is no frame.
    """

    def __init__(self, *, thread: TrioThread, peer_id: str, on_bad: Callable[[str], None]) -> None:
        self.peer_id = peer_id
        self._thread = thread
        self._on_bad = on_bad
        self._incoming: deque[Packet] = deque()
        self._delivered = 0
        self._consumed = 0
        self._failure: NetworkError | None = None
        self._ended = False
        self._reader: asyncio.Future[None] | None = None
        self._reader_sleeps = False
        self._feeder = trio.Event()
        self._feeder_sleeps = False
        self._outgoing: deque[bytes] = deque()
        self._queued = 0
        self._written = 0
        self._finished = False
        self._aborted = False
        self._senders: deque[asyncio.Future[None]] = deque()
        self._senders_sleep = False
        self._drainer = trio.Event()
        self._drainer_sleeps = False
        self._scope: trio.CancelScope | None = None

    # --- asyncio ----------------------------------------------------------------------------------------

    async def receive(self) -> Packet:
        """The peer's next frame. Raises StreamClosed at the end. For one task at a time."""
        while not self._incoming:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StreamClosed("The peer has sent everything.")
            self._reader_sleeps = True
            if self._has_news():
                self._reader_sleeps = False
                continue
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
                self._reader_sleeps = False
        packet = self._incoming.popleft()
        self._consumed += packet.prefix.body
        if self._feeder_sleeps:
            self._thread.post(self._wake_feeder)
        return packet

    async def send(self, data: bytes) -> None:
        """Queues a whole frame, waiting while more than WINDOW bytes are under way. Raises StreamClosed."""
        while True:
            if self._failure is not None or self._finished or self._aborted:
                raise self._failure or StreamClosed("The stream is closed.")
            if self._queued == self._written or self._queued - self._written + len(data) <= WINDOW:
                break
            self._senders_sleep = True
            if self._queued - self._written + len(data) <= WINDOW or self._failure is not None:
                continue
            future = asyncio.get_running_loop().create_future()
            self._senders.append(future)
            await future
        self._queued += len(data)
        self._outgoing.append(data)
        if self._drainer_sleeps:
            self._thread.post(self._wake_drainer)

    def finish(self) -> None:
        """Says that nothing more will be sent; what was is still delivered."""
        self._finished = True
        self._thread.post(self._wake_drainer)

    def abort(self) -> None:
        """Ends the stream in both directions, dropping what is under way."""
        if self._aborted:
            return
        self._aborted = True
        self._thread.post(self._cancel)

    @property
    def closed(self) -> bool:
        return self._failure is not None or self._aborted

    def _has_news(self) -> bool:
        return bool(self._incoming) or self._failure is not None or self._ended

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_senders(self) -> None:
        while self._senders:
            future = self._senders.popleft()
            if not future.done():
                future.set_result(None)

    # --- Trio -------------------------------------------------------------------------------------------

    async def pump(self, stream: INetStream) -> None:
        """Carries frames until both directions are done or one fails; then closes or resets the stream."""
        with trio.CancelScope() as scope:
            self._scope = scope
            if not self._aborted:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._drain, stream)
                    await self._feed(stream)
                if not scope.cancel_called:
                    return
        self._fail(StreamClosed("The stream was closed."))
        with trio.CancelScope(shield=True):
            await stream.reset()

    async def _feed(self, stream: INetStream) -> None:
        decoder = Decoder()
        try:
            while True:
                for packet in decoder.feed(await stream.muxed_stream.read(_READ)):  # type: ignore[attr-defined]
                    self._deliver(packet)
                await self._await_room()
        except trio.Cancelled:
            raise
        except BadFrame:
            self._fail(StreamClosed("The peer sent what is no frame."))
            self._on_bad(self.peer_id)
            self._cancel()
        except MuxedStreamEOF:
            if not decoder.idle:
                self._cancel()
            self._end_reading()
        except Exception:
            self._cancel()

    def _end_reading(self) -> None:
        self._ended = True
        self._thread.to_loop(self._wake_reader)

    def _deliver(self, packet: Packet) -> None:
        self._delivered += packet.prefix.body
        self._incoming.append(packet)
        if self._reader_sleeps:
            self._reader_sleeps = False
            self._thread.to_loop(self._wake_reader)

    async def _await_room(self) -> None:
        while self._delivered - self._consumed > WINDOW:
            self._feeder = trio.Event()
            self._feeder_sleeps = True
            if self._delivered - self._consumed > WINDOW:
                await self._feeder.wait()
            self._feeder_sleeps = False

    def _wake_feeder(self) -> None:
        self._feeder.set()

    async def _drain(self, stream: INetStream) -> None:
        try:
            while await self._await_work():
                data = self._outgoing.popleft()
                await stream.muxed_stream.write(data)  # type: ignore[attr-defined]
                self._written += len(data)
                if self._senders_sleep:
                    self._senders_sleep = False
                    self._thread.to_loop(self._wake_senders)
            await stream.close()
        except trio.Cancelled:
            raise
        except Exception:
            self._fail(StreamClosed("The peer no longer reads from the stream."))
            self._cancel()

    async def _await_work(self) -> bool:
        while not self._outgoing:
            if self._finished:
                return bool(self._outgoing)
            self._drainer = trio.Event()
            self._drainer_sleeps = True
            if not self._outgoing and not self._finished:
                await self._drainer.wait()
            self._drainer_sleeps = False
        return True

    def _wake_drainer(self) -> None:
        self._drainer.set()

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def _fail(self, error: NetworkError) -> None:
        if self._failure is None:
            self._failure = error
        self._thread.to_loop(self._wake_reader)
        self._thread.to_loop(self._wake_senders)
