"""SIGINT and SIGTERM while Qt's loop runs.

Python runs its signal handlers only between its own instructions, and Qt waits in C++. So the signal
writes to a socket that Qt watches, which brings Python back. Works on Windows too, for Ctrl+C.
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from PySide6.QtCore import QSocketNotifier

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def calling_on_signals(callback: Callable[[], None]) -> Iterator[None]:
    """Calls `callback` on Qt's thread for each signal; the handlers of before come back afterwards."""

    def note(_number: int, _frame: FrameType | None) -> None:
        callback()

    awake, wake = socket.socketpair()
    with awake, wake:
        awake.setblocking(False)
        wake.setblocking(False)
        notifier = QSocketNotifier(awake.fileno(), QSocketNotifier.Type.Read)
        notifier.activated.connect(lambda: _drain(awake))
        before = {number: signal.signal(number, note) for number in _SIGNALS}
        old = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            notifier.setEnabled(False)


def _drain(awake: socket.socket) -> None:
    try:
        awake.recv(64)
    except BlockingIOError:
        return
