"""What a worker reported for one request, until its consumer takes it."""

import asyncio
from collections import deque
from typing import Final

import msgspec

from app.core.engine.messages import Done, Failed, Finished, Piece, Report, Started
from app.core.kernel.errors import SwarmError, WorkerCrashed, error_from_code

MAX_REPORTS: Final = 1 << 22
"""Per request: more than the tokens of the longest context times the most choices."""


class Inbox:
    """A queue that the reader never waits for: behind a slow consumer text is put together, not dropped.

    At most `bound` reports wait plus, per choice, one piece that keeps growing. A worker that reports
    without end is cut off.
    """

    def __init__(self, *, request: int, bound: int) -> None:
        self.request = request
        self._bound = bound
        self._waiting: deque[tuple[Report, bytes]] = deque()
        self._count = 0
        self._growing: dict[int, list[Piece]] = {}
        self._error: SwarmError | None = None
        self._wakeup: asyncio.Future[None] | None = None

    def put(self, report: Report, payload: bytes) -> bool:
        """Takes a report in, and tells whether it is the request's last."""
        if isinstance(report, Failed):
            self.fail(error_from_code(report.code, report.message, report.param))
            return True
        self._count += 1
        if self._count > MAX_REPORTS:
            self.fail(WorkerCrashed("The worker reported more than any answer can hold."))
            return True
        if isinstance(report, Piece) and (self._growing or len(self._waiting) >= self._bound):
            self._growing.setdefault(report.choice, []).append(report)
        elif isinstance(report, Finished | Done) and self._growing:
            self._settle()
            self._waiting.append((report, payload))
        else:
            self._waiting.append((report, payload))
        self._wake()
        return not isinstance(report, Piece | Started | Finished)

    def fail(self, error: SwarmError) -> None:
        """Ends the queue: `error` is raised once what came before was taken."""
        self._error = error
        self._wake()

    async def get(self) -> tuple[Report, bytes]:
        """The next report with its payload. Raises the error that ended the request."""
        while not self._waiting:
            if self._growing:
                self._settle()
                continue
            if self._error is not None:
                raise self._error
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None
        return self._waiting.popleft()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _settle(self) -> None:
        for pieces in self._growing.values():
            self._waiting.append((_joined(pieces), b""))
        self._growing = {}


def _joined(pieces: list[Piece]) -> Piece:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    return msgspec.structs.replace(
        first,
        text="".join(piece.text for piece in pieces),
        tokens=tuple(token for piece in pieces for token in piece.tokens),
        logprobs=tuple(logprob for piece in pieces for logprob in piece.logprobs),
    )
