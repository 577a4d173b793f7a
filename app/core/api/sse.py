"""Streaming an answer as server-sent events (WHATWG HTML, 9.2), for every dialect.

A dialect is a `Renderer`: it turns each chunk into the bytes of its events. The status line waits for the
first chunk, so that an error before it is an ordinary HTTP error; an error after it is an event of the
dialect, and the stream ends. What is waiting goes out in one write. When the client hangs up, aiohttp
cancels the handler, which closes the chunks' iterator and so ends the generation.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, Protocol, cast

from aiohttp import web

from app.core.api.problems import Problem, problem_of
from app.core.kernel.errors import SwarmError, WorkerCrashed
from app.core.kernel.generation import Chunk
from app.core.kernel.units import MIB

log = logging.getLogger(__name__)

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store",
    "X-Accel-Buffering": "no",
}
MAX_WAITING: Final = 1 * MIB
STALL_SECONDS: Final = 120.0


class Renderer(Protocol):
    """One answer in one dialect. Each method gives the bytes of no, one or several whole events."""

    def feed(self, chunk: Chunk) -> bytes: ...

    def end(self) -> bytes: ...

    def fail(self, problem: Problem) -> bytes: ...


async def stream(
    request: web.Request, chunks: AsyncIterator[Chunk], renderer: Renderer
) -> web.StreamResponse:
    """Answers `request` with `chunks`. Raises what the first chunk raises."""
    async with aclosing(cast(AsyncGenerator[Chunk, None], chunks)):
        first = await anext(chunks, None)
        if first is None:
            raise WorkerCrashed("The model ended without an answer; send the request again.")
        outbox = Outbox()
        outbox.put(renderer.feed(first))
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        pump = asyncio.create_task(
            _pump(chunks, renderer, outbox, request.transport), name="stream an answer"
        )
        try:
            await _send(response, outbox)
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
    return response


async def _send(response: web.StreamResponse, outbox: "Outbox") -> None:
    while data := await outbox.take():
        await response.write(data)
    await response.write_eof()


async def _pump(
    chunks: AsyncIterator[Chunk],
    renderer: Renderer,
    outbox: "Outbox",
    transport: asyncio.Transport | None,
) -> None:
    try:
        async for chunk in chunks:
            outbox.put(renderer.feed(chunk))
            if outbox.full:
                await asyncio.wait_for(outbox.room(), STALL_SECONDS)
        outbox.put(renderer.end())
    except TimeoutError:
        log.debug("A client took nothing for %.0f s; its stream ends", STALL_SECONDS)
        if transport is not None:
            transport.abort()
    except SwarmError as error:
        outbox.put(renderer.fail(problem_of(error)))
    except Exception as error:
        log.exception("An answer broke off in mid-stream")
        outbox.put(renderer.fail(problem_of(error)))
    finally:
        outbox.close()


class Outbox:
    """Bytes on their way from one task to another; the taker gets all that is waiting."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._closed = False
        self._taker: asyncio.Future[None] | None = None
        self._emptied: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return self._size > MAX_WAITING

    def put(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
            _wake(self._taker)

    def close(self) -> None:
        self._closed = True
        _wake(self._taker)

    async def take(self) -> bytes:
        """All that is waiting, at least one byte; b"" at the end."""
        while not self._parts and not self._closed:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        _wake(self._emptied)
        return data

    async def room(self) -> None:
        """Returns when the taker has emptied the box."""
        while self.full:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
