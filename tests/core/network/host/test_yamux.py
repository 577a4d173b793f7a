"""Yamux against a peer that the test plays, over a pipe in memory."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset

from app.core.network.host.yamux import MAX_STREAMS, YamuxConn
from app.core.network.host.yamux_stream import (
    ACK,
    DATA,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    HEADER,
    LARGEST_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW,
)

PEER = ID(b"\0\x24\x08\1\x12\x20" + bytes(32))


class Pipe:
    """A secured connection's byte pipe."""

    def __init__(self, stream: trio.abc.Stream, *, initiator: bool) -> None:
        self._stream = stream
        self.is_initiator = initiator

    async def read(self, n: int | None = None) -> bytes:
        data = await self._stream.receive_some(n)
        if not data:
            raise trio.ClosedResourceError
        return bytes(data)

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def close(self) -> None:
        await self._stream.aclose()


class Evil:
    """The peer's end of the wire, byte by byte."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._got = bytearray()

    async def send(self, kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> None:
        await self.stream.send_all(HEADER.pack(0, kind, flags, stream_id, length) + body)

    async def frame(self) -> tuple[int, int, int, int, bytes]:
        """The next frame: kind, flags, stream, length, body."""
        _, kind, flags, stream_id, length = HEADER.unpack(await self._take(HEADER.size))
        body = await self._take(length) if kind == DATA else b""
        return kind, flags, stream_id, length, body

    async def _take(self, size: int) -> bytes:
        while len(self._got) < size:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._got += data
        taken = bytes(self._got[:size])
        del self._got[:size]
        return taken


def play(scene: Callable[[YamuxConn, Evil], Awaitable[None]]) -> None:
    """Runs `scene` with a connection that the peer has dialled; waiting costs no time."""

    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        conn = YamuxConn(Pipe(ours, initiator=False), PEER)  # type: ignore[arg-type]
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.start)
                await scene(conn, Evil(theirs))
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05))


def test_streams_open_carry_and_close_in_both_directions() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        await evil.send(WINDOW, SYN, 1, 0)
        stream: Any = await conn.accept_stream()
        assert (await evil.frame())[:3] == (WINDOW, ACK, 1)
        await evil.send(DATA, FIN, 1, 5, b"hello")
        assert await stream.read() == b"hello"
        with pytest.raises(MuxedStreamEOF):
            await stream.read()
        await stream.write(b"answer")
        assert await evil.frame() == (DATA, 0, 1, 6, b"answer")
        await stream.close()
        assert (await evil.frame())[:3] == (WINDOW, FIN, 1)
        assert conn.streams == 0

    play(scene)


def test_a_reader_may_pause_for_minutes() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        stream = await conn.open_stream()
        await evil.frame()
        sent = bytearray()

        async def write() -> None:
            await stream.write(bytes(2 * FIRST_WINDOW))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while len(sent) < FIRST_WINDOW:
                sent += (await evil.frame())[4]
            await trio.sleep(300)
            await evil.send(WINDOW, 0, stream.stream_id, FIRST_WINDOW)
            while len(sent) < 2 * FIRST_WINDOW:
                sent += (await evil.frame())[4]

    play(scene)


def test_credit_goes_back_once_half_a_window_is_read_and_not_before() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        await evil.send(DATA, SYN, 1, FIRST_WINDOW, bytes(FIRST_WINDOW))
        stream: Any = await conn.accept_stream()
        assert (await evil.frame())[1] == ACK
        await trio.sleep(10)
        await stream.read(FIRST_WINDOW // 2 - 1)
        await stream.read(1)
        assert await evil.frame() == (WINDOW, 0, 1, FIRST_WINDOW // 2, b"")

    play(scene)


@pytest.mark.parametrize(
    "frames",
    [
        [(DATA, SYN, 1, FIRST_WINDOW + 1, bytes(FIRST_WINDOW + 1))],
        [(DATA, SYN, 1, LARGEST_WINDOW + 1, b"")],
        [(WINDOW, SYN, 1, 0, b""), (WINDOW, SYN, 1, 0, b"")],
        [(WINDOW, SYN, 2, 0, b"")],
        [(WINDOW, SYN, 1, 0, b""), *[(WINDOW, 0, 1, 0xFFFFFFFF, b"")] * 2],
        [(9, 0, 0, 0, b"")],
        [(GO_AWAY, 0, 0, 0, b"")],
    ],
    ids=[
        "overruns its window",
        "announces a giant",
        "opens twice",
        "takes our ids",
        "absurd credit",
        "unknown kind",
        "goodbye",
    ],
)
def test_a_breach_ends_the_connection(frames: list[tuple[int, int, int, int, bytes]]) -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        for frame in frames:
            await evil.send(*frame)
        await conn.event_closed.wait()
        with pytest.raises(MuxedStreamError):
            await conn.open_stream()

    play(scene)


def test_a_flood_of_streams_is_refused_beyond_the_limit() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        for number in range(MAX_STREAMS + 50):
            await evil.send(WINDOW, SYN, 2 * number + 1, 0)
        answers = [(await evil.frame())[1] for _ in range(MAX_STREAMS + 50)]
        assert answers == [ACK] * MAX_STREAMS + [RST] * 50
        assert conn.streams == MAX_STREAMS

    play(scene)


def test_pings_that_nobody_reads_the_answers_of_end_the_connection() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        await evil.send(PING, SYN, 0, 7)
        assert await evil.frame() == (PING, ACK, 0, 7, b"")

        async def stuck(data: bytes) -> None:
            await trio.sleep_forever()

        conn.secured_conn.write = stuck  # type: ignore[method-assign]
        await evil.stream.send_all(HEADER.pack(0, PING, SYN, 0, 1) * 5000)
        await conn.event_closed.wait()

    play(scene)


def test_data_for_a_stream_that_is_gone_is_thrown_away() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        await evil.send(DATA, 0, 99, 100_000, bytes(100_000))
        await evil.send(WINDOW, SYN, 1, 0)
        await conn.accept_stream()

    play(scene)


def test_a_reset_reaches_reader_and_writer() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        stream = await conn.open_stream()
        await evil.send(WINDOW, RST, stream.stream_id, 0)
        with pytest.raises(MuxedStreamReset):
            await stream.read()
        with pytest.raises(MuxedStreamReset):
            await stream.write(b"x")
        assert conn.streams == 0

    play(scene)


def test_closing_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        async def stuck(data: bytes) -> None:
            await trio.sleep_forever()

        conn.secured_conn.write = stuck  # type: ignore[method-assign]
        began = trio.current_time()
        await conn.close()
        assert trio.current_time() - began < 1

    play(scene)


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_random_bytes_end_the_connection_or_are_taken_as_frames(data: bytes) -> None:
    async def scene(conn: YamuxConn, evil: Evil) -> None:
        await evil.stream.send_all(data)
        await evil.stream.aclose()
        await conn.event_closed.wait()

    play(scene)
