"""Streams of the network against a bare asyncio socket with ChaCha20-Poly1305, in the same run.

Two processes on loopback each way. Prints the throughput of 1 MiB shard frames, the round trip of a 14 KB
tensor frame, and the ratios that the project holds itself to.
"""

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: E402

CHUNK = 1 << 20
CHUNKS = int(os.environ.get("CHUNKS", "256"))
TRIPS = 600
TENSOR = 14 * 1024
KEY = bytes(32)


class Bare:
    """Length-prefixed messages, each sealed with ChaCha20-Poly1305."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._cipher = ChaCha20Poly1305(KEY)
        self._sent = self._received = 0

    async def send(self, data: bytes) -> None:
        sealed = self._cipher.encrypt(self._sent.to_bytes(12, "big"), data, None)
        self._sent += 1
        self._writer.write(struct.pack(">I", len(sealed)) + sealed)
        await self._writer.drain()

    async def receive(self) -> bytes:
        (size,) = struct.unpack(">I", await self._reader.readexactly(4))
        sealed = await self._reader.readexactly(size)
        plain = self._cipher.decrypt(self._received.to_bytes(12, "big"), sealed, None)
        self._received += 1
        return plain


async def serve_bare() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Bare(reader, writer)
        try:
            while True:
                data = await channel.receive()
                if len(data) != CHUNK:
                    await channel.send(data)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=4 << 20)
    print(json.dumps(server.sockets[0].getsockname()[1]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def measure(send, receive, big, small):  # type: ignore[no-untyped-def]
    """MiB a second and the median round trip in milliseconds."""
    for _ in range(50):
        await send(small)
        await receive()
    trips = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        await send(small)
        await receive()
        trips.append(time.perf_counter() - began)
    began = time.perf_counter()
    for _ in range(CHUNKS):
        await send(big)
    await send(small)
    await receive()
    return CHUNKS * CHUNK / (1 << 20) / (time.perf_counter() - began), sorted(trips)[TRIPS // 2] * 1e3


async def bare() -> tuple[float, float]:
    with child("serve-bare") as (process, line):
        reader, writer = await asyncio.open_connection("127.0.0.1", line, limit=4 << 20)
        channel = Bare(reader, writer)
        result = await measure(channel.send, channel.receive, os.urandom(CHUNK), os.urandom(TENSOR))
        writer.close()
        process.stdin.close()
    return result


async def serve_network() -> None:
    from tests.support.network_nodes import Node

    node = Node()
    async with node.network:
        print(json.dumps(node.network.invite()), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def network(*, sealed: bool) -> tuple[float, float]:
    from app.core.network.frames import Frame, Tag
    from tests.support.network_nodes import Node, Swallow

    with child("serve-network") as (process, invite):
        node = Node(enable_encryption=sealed)
        async with node.network:
            peer = await node.network.join(invite)
            stream = await node.network.open_stream(peer, Swallow())
            big, small = (
                Frame(Tag.SHARD, b"h", os.urandom(CHUNK)),
                Frame(Tag.TENSOR, b"h", os.urandom(TENSOR)),
            )
            result = await measure(stream.send, stream.receive, big, small)
            stream.finish()
        process.stdin.close()
    return result


class child:  # noqa: N801
    """This script in another process, and the first line it says."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self):  # type: ignore[no-untyped-def]
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process, json.loads(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.wait(20)


async def main() -> None:
    rows = {
        "bare": await bare(),
        "network": await network(sealed=False),
        "network, tier 1": await network(sealed=True),
    }
    for name, (speed, trip) in rows.items():
        print(f"{name:16} {speed:7.0f} MiB/s   {trip:6.3f} ms for 14 KB")
    base = rows["bare"]
    for name in ("network", "network, tier 1"):
        speed, trip = rows[name][0] / base[0], rows[name][1] / base[1]
        print(f"{name:16} throughput {speed:.2f} of bare, round trip {trip:.2f} times")


if __name__ == "__main__":
    jobs = {"serve-bare": serve_bare, "serve-network": serve_network}
    asyncio.run(jobs.get(sys.argv[1] if len(sys.argv) > 1 else "", main)())
