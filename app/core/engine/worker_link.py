"""The node's side of one worker: its process, its requests, whether it is alive."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from app.core.engine.connection import FrameProtocol
from app.core.engine.diagnosis import (
    died_at_work,
    died_while_loading,
    stalled_at_work,
    stalled_while_loading,
)
from app.core.engine.framing import FrameTooLarge
from app.core.engine.inbox import Inbox
from app.core.engine.messages import (
    Cancel,
    Command,
    Failed,
    Load,
    Loaded,
    ModelInfo,
    Ping,
    Pong,
    Progress,
    Report,
    SetThreads,
    Shutdown,
)
from app.core.engine.process import Process
from app.core.kernel.errors import InvalidRequest, LoadFailed, SwarmError, WorkerCrashed, error_from_code

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 1.0


class WorkerLink:
    """Owns one worker from its start to its end.

    `on_ended` is called once, when the worker is gone and every request it held has been told.
    """

    def __init__(
        self,
        *,
        model: str,
        whole: bool,
        command: Sequence[str],
        queue_pieces: int,
        clock: Callable[[], float],
        on_progress: Callable[[float], None],
        on_ended: Callable[[], None],
    ) -> None:
        self.model = model
        self.whole = whole
        self.sequences: set[int] = set()
        self.last_pong: Pong | None = None
        self.threads = 0
        self._process = Process(name=model, command=command)
        self._connection = FrameProtocol(on_report=self._report, on_closed=self._lost)
        self._queue_pieces = queue_pieces
        self._clock = clock
        self._on_progress = on_progress
        self._on_ended = on_ended
        self._inboxes: dict[int, Inbox] = {}
        self._last_request = 0
        self._loaded: asyncio.Future[Loaded] | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._info: ModelInfo | None = None
        self._alive = False
        self._connected = False
        self._gone = asyncio.Event()
        self._closing = False
        self._stalled = False
        self._last_heard = 0.0
        self._ping: Inbox | None = None
        self._pinged = 0.0

    @property
    def info(self) -> ModelInfo:
        """What the worker told of its model; only after `load`."""
        assert self._info is not None
        return self._info

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def open_requests(self) -> int:
        return len(self._inboxes) - (self._ping is not None)

    async def load(self, command: Load) -> Loaded:
        """Starts the process and loads the model. Raises LoadFailed, OutOfMemory, BadModelFile."""
        try:
            sock = await self._process.start()
        except OSError as error:
            raise LoadFailed(f"The worker for model {self.model!r} could not be started: {error}.") from error
        self._loaded = asyncio.get_running_loop().create_future()
        self._alive = True
        self._last_heard = self._clock()
        self.threads = command.threads
        await self._connection.connect(sock)
        self._connected = True
        self._connection.send(command)
        loaded = await self._loaded
        self._info = loaded.info
        return loaded

    def open(self, build: Callable[[int], Command], payload: bytes | memoryview = b"") -> Inbox:
        """Sends the command that `build` makes of a new request number. Raises WorkerCrashed,
        InvalidRequest if the command is larger than a frame may be.
        """
        if not self._alive or self._closing:
            raise WorkerCrashed(f"The worker of model {self.model!r} ended; send the request again.")
        self._last_request += 1
        inbox = Inbox(request=self._last_request, bound=self._queue_pieces)
        try:
            self._connection.send(build(inbox.request), payload)
        except FrameTooLarge as error:
            raise InvalidRequest("The request is too large for a worker.") from error
        self._inboxes[inbox.request] = inbox
        return inbox

    async def call(
        self, build: Callable[[int], Command], payload: bytes | memoryview = b""
    ) -> tuple[Report, bytes]:
        """One command with one answer. Raises what `open` does, and the error the worker answers."""
        await self.drained()
        inbox = self.open(build, payload)
        try:
            return await inbox.get()
        finally:
            self.close(inbox)

    def close(self, inbox: Inbox) -> None:
        """Forgets a request; one that is still running is cancelled in the worker."""
        if self._inboxes.pop(inbox.request, None) is not None and self._alive:
            self._connection.send(Cancel(request=inbox.request))

    async def drained(self) -> None:
        """Waits while too much is waiting to be sent to the worker."""
        await self._connection.drained()

    def tell(self, command: Command) -> None:
        """Sends a command that is not answered."""
        if self._alive:
            self._connection.send(command)

    def set_threads(self, threads: int) -> None:
        """From the next tick on; what is still loading keeps what it was loaded with."""
        if threads != self.threads and self._info is not None:
            self.threads = threads
            self.tell(SetThreads(decode=threads, prefill=threads))

    def check_pulse(self, stall_seconds: float) -> None:
        """To be called now and then: asks for a sign of life, and kills a worker that gave none for
        `stall_seconds` while it was loading or had been asked.
        """
        if not self._alive or self._closing:
            return
        now = self._clock()
        waiting_since = max(self._last_heard, self._pinged) if self._ping else self._last_heard
        expected = self._ping is not None or self._info is None
        if expected and now - waiting_since > stall_seconds:
            log.warning("The worker of %s gave no sign of life for %.0f s.", self.model, now - waiting_since)
            self._stalled = True
            self.kill()
        elif self._ping is None and self._info is not None:
            self._pinged = now
            self._ping = self.open(lambda request: Ping(request=request))

    def kill(self) -> None:
        """Ends the worker now; its requests get WorkerCrashed."""
        self._process.kill()
        self._connection.close()

    async def shut_down(self) -> None:
        """Ends the worker in order, by force after a second. Its requests get WorkerCrashed."""
        self._closing = True
        if self._alive:
            self._connection.send(Shutdown())
            for inbox in self._inboxes.values():
                inbox.fail(WorkerCrashed(f"Model {self.model!r} was unloaded while it held this request."))
            self._inboxes.clear()
        await self._process.ended(CLOSE_SECONDS)
        self._connection.close()
        if self._connected:
            await self._gone.wait()
        if self._reaper is not None:
            await self._reaper

    def _report(self, report: Report, payload: bytes) -> None:
        self._last_heard = self._clock()
        if isinstance(report, Progress):
            self._on_progress(report.fraction)
        elif isinstance(report, Loaded):
            self._settle_load(report)
        elif isinstance(report, Failed) and report.request == 0:
            self._settle_load(error_from_code(report.code, report.message, report.param))
        else:
            self._deliver(report, payload)

    def _deliver(self, report: Report, payload: bytes) -> None:
        assert not isinstance(report, Progress | Loaded)
        inbox = self._inboxes.get(report.request)
        if inbox is None:
            return
        if isinstance(report, Failed) and report.fatal:
            self._alive = False  # from now on, not only from when its end is noticed
        if inbox is self._ping:
            self._ping = None
            self.last_pong = report if isinstance(report, Pong) else self.last_pong
        if inbox.put(report, payload):
            del self._inboxes[report.request]

    def _settle_load(self, result: Loaded | SwarmError) -> None:
        if self._loaded is None or self._loaded.done():
            return
        if isinstance(result, Loaded):
            self._loaded.set_result(result)
        else:
            self._loaded.set_exception(result)

    def _lost(self) -> None:
        self._alive = False
        self._gone.set()
        self._reaper = asyncio.create_task(self._reap(), name=f"reap worker of {self.model}")

    async def _reap(self) -> None:
        status = await self._process.ended(CLOSE_SECONDS)
        if not self._closing:
            log.warning("The worker of %s ended with status %s.", self.model, status)
        if self._stalled:
            self._settle_load(stalled_while_loading(self.model))
            lost = stalled_at_work(self.model)
        else:
            self._settle_load(died_while_loading(self.model, status, self._process.last_lines))
            lost = died_at_work(self.model, status)
        inboxes, self._inboxes, self._ping = self._inboxes, {}, None
        for inbox in inboxes.values():
            inbox.fail(lost)
        self.sequences.clear()
        self._on_ended()
