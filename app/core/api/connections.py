"""Bounds the connections, so that thousands of idle ones cost neither memory nor the next request.

At the bound the oldest connection without a running request makes room for the new one; where every one is
busy, the new one is told 503 and closed. Silent connections, and those that send a request's head too
slowly, are closed by aiohttp after its keep-alive time.
"""

import asyncio
import sys
from typing import Final, cast

from aiohttp import web

MAX_CONNECTIONS: Final = 1024
KEEPALIVE_SECONDS: Final = 75.0
_BODY: Final = (
    b'{"error":{"message":"Too many connections.","type":"server_error","param":null,"code":"overloaded"}}'
)
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


def connection_bound() -> int:
    """MAX_CONNECTIONS, or half of the files that this process may open."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource  # noqa: PLC0415 - POSIX only

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


class Connections:
    """A protocol factory in front of aiohttp's."""

    def __init__(self, *, server: web.Server, bound: int) -> None:
        self._server = server
        self._bound = bound
        self._busy: set[asyncio.Protocol] = set()

    def begin(self, request: web.Request) -> None:
        self._busy.add(request.protocol)

    def end(self, request: web.Request) -> None:
        self._busy.discard(request.protocol)

    def __call__(self) -> asyncio.Protocol:
        live = [handler for handler in self._server.connections if handler.transport is not None]
        if len(live) >= self._bound:
            idle = next((handler for handler in live if handler not in self._busy), None)
            if idle is None:
                return _Refusal()
            idle.force_close()
        return self._server()


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writer = cast(asyncio.Transport, transport)
        writer.write(_REFUSAL)
        writer.close()
