"""A thread that runs Trio, and calls into it from asyncio.

A call crosses once each way. Cancelling the asyncio side cancels the Trio side; if Trio ends, for whatever
reason, every call that is still waiting fails.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, TypeVarTuple

import trio

from app.core.kernel.errors import NetworkError

log: Final = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class HostStopped(NetworkError):
    """The network is not running."""

    code = "network_stopped"


class TrioThread:
    """Runs `main(started)` under Trio; `main` calls `started` once calls may come, and returns to stop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop: trio.Event | None = None
        self._ended: asyncio.Future[BaseException | None] | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Returns once the thread takes calls; cancelled meanwhile, it ends the thread first."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=self._name, daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            await ready
            await self.stop()
            raise

    def _run(self, ready: "asyncio.Future[None]") -> None:
        error: BaseException | None = None
        try:
            trio.run(self._main, ready)
        except BaseException as raised:
            error = raised
            log.exception("The network thread ended with an error.")
        self.to_loop(self._end, error)

    async def _main(self, ready: "asyncio.Future[None]") -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.to_loop(ready.set_result, None)
            await self._stop.wait()
            nursery.cancel_scope.cancel()

    def _end(self, error: BaseException | None) -> None:
        for future in tuple(self._waiting):
            if not future.done():
                future.set_exception(HostStopped("The network has stopped."))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(error)

    @property
    def alive(self) -> bool:
        return self._ended is not None and not self._ended.done()

    async def stop(self) -> None:
        """Cancels whatever still runs in the thread and returns when it has ended."""
        if self._ended is None or self._stop is None:
            return
        self.post(self._stop.set)
        await asyncio.shield(self._ended)
        if self._thread is not None:
            self._thread.join()

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Runs a plain function in the Trio thread soon; does nothing once that has ended."""
        if self._token is None:
            return
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            return

    def to_loop(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Runs a plain function on the asyncio loop soon; for use in the Trio thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.debug("The loop has closed before the network thread ended.")

    async def call(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """The result of an async function run in the Trio thread. Raises what it raises, and HostStopped."""
        if not self.alive or self._loop is None:
            raise HostStopped("The network is not running.")
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

        async def run() -> None:
            result: T | None = None
            failed: BaseException | None = HostStopped("The network has stopped.")
            try:
                with scope:
                    result = await function(*args)
                    failed = None
            except Exception as error:
                failed = error
            finally:
                self.to_loop(settle, result, failed)

        self._waiting.add(future)
        try:
            self.post(self._spawn, run)
            return await future
        except asyncio.CancelledError:
            self.post(scope.cancel)
            raise
        finally:
            self._waiting.discard(future)

    def _spawn(self, run: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(run)

    def spawn(self, function: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Starts a task in the thread's nursery; for use in the Trio thread."""
        assert self._nursery is not None
        self._nursery.start_soon(function, *args)
