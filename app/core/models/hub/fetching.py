"""Fetches pieces over several connections at once, each as often as patience allows."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from app.core.models.hub.answers import HubFile
from app.core.models.hub.client import Body, HubClient
from app.core.models.hub.failures import Patience, Unreliable
from app.core.models.hub.layout import Piece
from app.core.models.hub.pace import Bandwidth, Drip

RUN_BYTES: Final = 64 << 20
PROGRESS_BYTES: Final = 256 << 10
_READ: Final = 256 << 10


class Fetcher:
    """Fetches `pieces` of `files`. `store` puts one away; `received` is told how many bytes came in.
    `clock` is monotonic.

    Attempts count anew as soon as PROGRESS_BYTES or the rest of a piece have arrived.
    """

    def __init__(
        self,
        *,
        client: HubClient,
        files: Sequence[HubFile],
        pieces: Sequence[Piece],
        connections: int,
        bandwidth: Bandwidth,
        patience: Patience,
        store: Callable[[int, bytearray], Awaitable[None]],
        received: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._files = files
        self._pieces = pieces
        self._connections = connections
        self._bandwidth = bandwidth
        self._patience = patience
        self._store = store
        self._received = received
        self._clock = clock

    async def fetch(self, missing: Iterable[int]) -> None:
        """Returns when all `missing` pieces are stored. Raises what the client and `store` raise."""
        runs = deque(_runs(self._pieces, sorted(missing), self._connections))
        async with asyncio.TaskGroup() as group:
            for number in range(min(self._connections, len(runs))):
                group.create_task(self._work(runs), name=f"download connection {number}")

    async def _work(self, runs: deque[list[int]]) -> None:
        while runs:
            await self._run(runs.popleft())

    async def _run(self, run: list[int]) -> None:
        """Fetches neighbouring pieces; what has arrived of the first one is kept between attempts."""
        partial = bytearray()
        failed = 0
        while run:
            before = len(run), len(partial)
            try:
                await self._stream(run, partial)
            except Unreliable as error:
                progress = len(run) < before[0] or len(partial) >= before[1] + PROGRESS_BYTES
                failed = 1 if progress else failed + 1
                await self._patience.wait(failed, error)

    async def _stream(self, run: list[int], partial: bytearray) -> None:
        file = self._files[self._pieces[run[0]].file]
        start = self._pieces[run[0]].start + len(partial)
        last = self._pieces[run[-1]]
        drip = Drip()
        async with self._client.open_range(file, start, last.start + last.length - start) as body:
            while run:
                await self._fill(body, partial, self._pieces[run[0]].length, file, drip)
                await self._store(run[0], partial)
                partial.clear()
                del run[0]

    async def _fill(self, body: Body, partial: bytearray, length: int, file: HubFile, drip: Drip) -> None:
        while len(partial) < length:
            asked = self._clock()
            data = await body.read(min(_READ, length - len(partial)))
            if not data:
                raise Unreliable(f"The hub ended the file {file.path} early.")
            if drip.too_slow(len(data), self._clock() - asked):
                raise Unreliable(f"The hub hardly sends anything of the file {file.path}.")
            partial += data
            self._received(len(data))
            await self._bandwidth.take(len(data))


def _runs(pieces: Sequence[Piece], missing: Sequence[int], connections: int) -> Iterable[list[int]]:
    """Neighbouring pieces that one request fetches: many, but something for every connection."""
    total = sum(pieces[number].length for number in missing)
    limit = min(RUN_BYTES, total // (2 * connections))
    run: list[int] = []
    size = 0
    for number in missing:
        piece = pieces[number]
        if run and (size + piece.length > limit or not _adjoins(pieces[run[-1]], piece)):
            yield run
            run, size = [], 0
        run.append(number)
        size += piece.length
    if run:
        yield run


def _adjoins(before: Piece, after: Piece) -> bool:
    return before.file == after.file and before.start + before.length == after.start
