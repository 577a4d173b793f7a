"""asyncio on Qt's event loop: qasync made exact.

qasync 0.28 wakes timers up to 5 % early, keeps each cancelled `call_later` alive until it would have
been due, starts a Qt timer for every `call_soon`, and drops the context of thread-safe calls. Here one
queue of ready handles is drained by one posted event, and one precise Qt timer serves a heap of
deadlines. What always holds: a timer never runs before its time, handles run in the order in which they
became ready, and input events of the windows go before handles (the queue is posted at low priority).
"""

import asyncio
import heapq
import math
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["QT_API"] = "pyside6"

import qasync
from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimerEvent
from PySide6.QtWidgets import QApplication

_READY = QEvent.Type(QEvent.registerEventType())
_LONGEST_MS = 86_400_000
_FEW_CANCELLED = 64


class _Pump(QObject):
    """Runs asyncio's handles from Qt events. Only `ready` may be called from any thread."""

    def __init__(self, clock: Callable[[], float], on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__()
        self._clock = clock
        self._on_fatal = on_fatal
        self._ready: deque[asyncio.Handle] = deque()
        self._posted = False
        self._timers: list[asyncio.TimerHandle] = []
        self._cancelled = 0
        self._timer_id = 0
        self._due = math.inf
        self._stopped = False

    @property
    def timers(self) -> int:
        """Timers held, cancelled ones included."""
        return len(self._timers)

    def ready(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)
        self._post()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            QCoreApplication.postEvent(self, QEvent(_READY), Qt.EventPriority.LowEventPriority.value)

    def customEvent(self, _event: QEvent) -> None:  # noqa: N802
        self._posted = False
        try:
            for _ in range(len(self._ready)):
                if self._stopped or not self._ready:
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        except BaseException as error:
            self._on_fatal(error)
        finally:
            if self._ready and not self._stopped:
                self._post()

    def schedule(self, handle: asyncio.TimerHandle) -> None:
        heapq.heappush(self._timers, handle)
        handle._scheduled = True  # type: ignore[attr-defined]
        self._arm()

    def note_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Frees cancelled timers once they are next in line, or the majority.

        asyncio calls this before it marks `handle` as cancelled.
        """
        if not handle._scheduled:  # type: ignore[attr-defined]
            return
        self._cancelled += 1
        if self._cancelled > _FEW_CANCELLED and self._cancelled * 2 > len(self._timers):
            self._timers = [handle for handle in self._timers if not handle.cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0
        self._arm()

    def _arm(self) -> None:
        while self._timers and self._timers[0].cancelled():
            heapq.heappop(self._timers)
            self._cancelled = max(0, self._cancelled - 1)
        due = self._timers[0].when() if self._timers else math.inf
        if due == self._due:
            return
        self._disarm()
        if due != math.inf and not self._stopped:
            delay = math.ceil((due - self._clock()) * 1000)
            self._due = due
            self._timer_id = self.startTimer(min(_LONGEST_MS, max(0, delay)), Qt.TimerType.PreciseTimer)

    def _disarm(self) -> None:
        if self._timer_id:
            self.killTimer(self._timer_id)
        self._timer_id = 0
        self._due = math.inf

    def timerEvent(self, event: QTimerEvent) -> None:  # noqa: N802
        if event.timerId() != self._timer_id:
            return
        self._disarm()
        now = self._clock()
        while self._timers and self._timers[0].when() <= now:
            handle = heapq.heappop(self._timers)
            handle._scheduled = False  # type: ignore[attr-defined]
            if handle.cancelled():
                self._cancelled = max(0, self._cancelled - 1)
            else:
                self.ready(handle)
        self._arm()

    def stop(self) -> None:
        self._stopped = True
        self._disarm()
        self._timers.clear()
        self._ready.clear()


class QtEventLoop(qasync.QEventLoop):  # type: ignore[misc]
    """The event loop of the windowed app; `application` must exist before."""

    def __init__(self, application: QApplication) -> None:
        self._pump = _Pump(self.time, self._end_with)
        self._fatal: BaseException | None = None
        super().__init__(application)
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="qt-loop"))

    @property
    def timers(self) -> int:
        """Timers held at this moment, for tests and diagnostics."""
        return self._pump.timers

    def run_forever(self) -> None:
        super().run_forever()
        if self._fatal is not None:
            fatal, self._fatal = self._fatal, None
            raise fatal

    def _end_with(self, error: BaseException) -> None:
        self._fatal = error
        self.stop()

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        self._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._pump.ready(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        self._check_closed()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._pump.schedule(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + max(0.0, delay), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._pump.note_cancelled(handle)

    def close(self) -> None:
        if not self.is_running():
            self._pump.stop()
        super().close()
