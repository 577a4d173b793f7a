"""Ctrl-C and termination: the first signal stops the node in order, the second ends the process."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` on the running loop's thread at the first signal, while inside."""
    loop = asyncio.get_running_loop()
    received = False

    def on_signal(number: int, _: FrameType | None = None) -> None:
        nonlocal received
        if received:
            os._exit(128 + number)
        received = True
        # Waking the loop is what a plain handler lacks: the loop may be waiting in a system call.
        loop.call_soon_threadsafe(_stop, number)

    def _stop(number: int) -> None:
        log.info("Stopping (%s); once more ends at once.", signal.Signals(number).name)
        stop()

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
