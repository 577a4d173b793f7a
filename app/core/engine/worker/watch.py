"""Ends the worker where llama.cpp does not come back from a grammar.

No bound on a grammar's text keeps it from being ambiguous: a dozen alternatives that begin alike take
longer for one long token than anybody waits, and nothing interrupts that. So a thread looks on, names the
request that is to blame and ends the process; the node starts another.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.core.engine.messages import Failed
from app.core.kernel.errors import InvalidGrammar

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
PATIENCE: Final = 16
"""Looks at the same piece of work: 4 s while the process runs, however long it was suspended."""


class GrammarWatch:
    """`opened` and `closed` bracket the time in which a request has a grammar, `over` each use of it.

    The thread sleeps without waking up while nothing is open. `give_up` gets the report for the request
    that is to blame and does not return.
    """

    def __init__(self, *, give_up: Callable[[Failed], None]) -> None:
        self._give_up = give_up
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._open = 0
        self._request: int | None = None
        self._use = 0

    def opened(self) -> None:
        self._open += 1
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="grammar-watch", daemon=True)
            self._thread.start()

    def closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._wanted.clear()

    @contextmanager
    def over(self, request: int) -> Iterator[None]:
        """While inside, `request` is to blame. Leaving waits for ever once the thread has given up."""
        with self._lock:
            self._request = request
            self._use += 1
        try:
            yield
        finally:
            with self._lock:
                self._request = None

    def _look_on(self) -> None:
        never = threading.Event()
        seen, looks = 0, 0
        while self._wanted.wait():
            never.wait(LOOK_SECONDS)
            with self._lock:
                same = self._request is not None and self._use == seen
                seen, looks = self._use, looks + 1 if same else 0
                if looks >= PATIENCE and self._request is not None:
                    self._end(self._request)
                    return

    def _end(self, request: int) -> None:
        log.error("llama.cpp did not come back from a grammar; the worker ends")
        error = InvalidGrammar("The grammar is too ambiguous to be followed.", param="grammar")
        self._give_up(
            Failed(request=request, code=error.code, message=error.message, param=error.param, fatal=True)
        )
