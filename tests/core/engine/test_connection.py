import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.engine import framing
from app.core.engine.connection import FrameProtocol
from app.core.engine.messages import Hidden, Ping, Progress, Report


class Peer:
    """The other end of a connection, and what came out at this one."""

    def __init__(self) -> None:
        self.reports: list[tuple[Report, bytes]] = []
        self.closed = asyncio.Event()
        self.protocol = FrameProtocol(
            on_report=lambda report, payload: self.reports.append((report, payload)),
            on_closed=self.closed.set,
        )


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    peer = Peer()
    with theirs:
        await peer.protocol.connect(ours)
        yield peer, theirs
        peer.protocol.close()
        await peer.closed.wait()


def frame(report: Report, payload: bytes = b"") -> bytes:
    return framing.pack(msgspec.msgpack.encode(report), payload)


STREAM = [
    (Progress(fraction=0.5), b""),
    (Hidden(request=3, rows=1, width=2, kind="vectors", seconds=0.1), b"12345678"),
    (Progress(fraction=1.0), b""),
]


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=12))
def test_frames_are_the_same_however_they_arrive(cuts: list[int]) -> None:
    data = b"".join(frame(report, payload) for report, payload in STREAM)
    reports: list[tuple[Report, bytes]] = []
    protocol = FrameProtocol(
        on_report=lambda report, payload: reports.append((report, payload)), on_closed=lambda: None
    )
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        protocol.data_received(data[begin:end])
    assert reports == STREAM


async def test_commands_arrive_whole() -> None:
    async with connected() as (peer, theirs):
        peer.protocol.send(Ping(request=4), b"abc")
        data = await asyncio.to_thread(theirs.recv, 1000)
        header, payload = framing.sizes(data[:8])
        assert msgspec.msgpack.decode(data[8 : 8 + header], type=Ping) == Ping(request=4)
        assert (payload, data[8 + header :]) == (3, b"abc")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 8,
        framing.PREFIX.pack(3, 0) + b"\xc1\xc1\xc1",
        framing.pack(msgspec.msgpack.encode({"type": "unknown"})),
        framing.pack(msgspec.msgpack.encode({"type": "pong", "request": "seven"})),
        framing.pack(b"\x81\xa4type\xa4\xff\xff\xff\xff"),
    ],
)
async def test_what_is_no_frame_ends_the_connection(garbage: bytes) -> None:
    async with connected() as (peer, theirs):
        theirs.sendall(frame(Progress(fraction=0.5)) + garbage)
        async with asyncio.timeout(10):
            await peer.closed.wait()
        assert [report for report, _ in peer.reports] == [Progress(fraction=0.5)]


async def test_a_reader_that_does_not_read_holds_writers_back() -> None:
    async with connected() as (peer, theirs):
        for _ in range(20):
            peer.protocol.send(Ping(request=1), bytes(1 << 20))
        waiting = asyncio.create_task(peer.protocol.drained())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        left = 20 * (1 << 20)
        while left > 0:
            left -= len(await asyncio.to_thread(theirs.recv, 1 << 20))
        async with asyncio.timeout(10):
            await waiting


async def test_sending_to_one_who_is_gone_is_nothing() -> None:
    async with connected() as (peer, theirs):
        theirs.close()
        async with asyncio.timeout(10):
            await peer.closed.wait()
        peer.protocol.send(Ping(request=1))
        assert peer.reports == []
