"""llama.cpp's log lines become records of Python's logging, which goes to stderr.

Errors and warnings keep their level; everything else is debug. The last error is kept, because the C
API answers a failure with a null pointer and tells the reason only in its log.
"""

import ctypes
import logging
from collections.abc import Callable

from app.core.engine.worker.llama.lib import L

log = logging.getLogger("llama.cpp")

_LEVELS = {3: logging.WARNING, 4: logging.ERROR}
_CONTINUED = 5
_EXPECTED = ("n_ctx_seq",)
"""Lines that warn of what is meant: one buffer for all sequences is larger than what one may use."""


class LogRoute:
    """Installed once per process. `take_error()` hands out the reason of the last failure."""

    def __init__(self) -> None:
        self._error = ""
        self._level = logging.DEBUG
        self._callback: Callable[..., None] = L.llama_log_callback(self._on_line)

    def install(self) -> None:
        L.llama_log_set(self._callback, ctypes.c_void_p(0))

    def take_error(self) -> str:
        """The last line that llama.cpp logged as an error, without its function's name; "" for none."""
        error, self._error = self._error, ""
        return error

    def _on_line(self, level: int, text: bytes | None, _data: object) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.DEBUG)
        if self._level == logging.DEBUG and not log.isEnabledFor(logging.DEBUG):
            return
        line = (text or b"").decode("utf-8", "replace").strip()
        if not line or line.strip(".") == "":
            return
        if any(word in line for word in _EXPECTED):
            return
        if self._level == logging.ERROR:
            self._error = line.split(": ", 1)[-1] if ": " in line else line
        log.log(self._level, "%s", line)
