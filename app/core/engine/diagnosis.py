"""Why a worker ended, as a sentence: from its exit status and the last lines it wrote."""

import re
import signal
from collections.abc import Sequence
from typing import Final

from app.core.kernel.errors import LoadFailed, OutOfMemory, SwarmError, WorkerCrashed

MEMORY: Final = re.compile(
    r"out of memory|cannot allocate memory|failed to allocate|unable to allocate|MemoryError|bad_alloc",
    re.IGNORECASE,
)
MISSING: Final = re.compile(r"(?:ModuleNotFoundError|ImportError|OSError|FileNotFoundError): (.+)")
TELLING: Final = re.compile(r"error|fail|invalid|assert|corrupt|unknown|missing|exception", re.IGNORECASE)
FOLDERS: Final = re.compile(r"(?:[A-Za-z]:)?[\\/](?:[^\s\\/]+[\\/])+")
MAX_QUOTE: Final = 200


def died_while_loading(model: str, status: int | None, lines: Sequence[str]) -> SwarmError:
    """The error for requests that waited for `model`. `status` is negative for signals, as Popen's."""
    text = "\n".join(lines)
    if MEMORY.search(text) or status == -9:
        return OutOfMemory(f"Model {model!r} could not be loaded because there is not enough memory for it.")
    if missing := MISSING.search(text):
        return LoadFailed(f"The worker for model {model!r} could not start: {_quoted(missing.group(1))}.")
    reason = _telling(lines)
    said = f" llama.cpp said: {reason}." if reason else ""
    return LoadFailed(
        f"Model {model!r} could not be loaded: its worker {how_it_ended(status)}, which usually means that a "
        f"file of it is damaged or not supported.{said}"
    )


def died_at_work(model: str, status: int | None) -> WorkerCrashed:
    """The error for requests that a worker held when it ended."""
    return WorkerCrashed(
        f"The worker of model {model!r} {how_it_ended(status)} while it held this request; "
        "send the request again, a new worker will be started."
    )


def stalled_while_loading(model: str) -> LoadFailed:
    """The error for requests that waited for a worker whose loading did not go on."""
    return LoadFailed(f"Model {model!r} could not be loaded: loading made no progress and was ended.")


def stalled_at_work(model: str) -> WorkerCrashed:
    """The error for requests that a worker held when it was ended because it gave no sign of life."""
    return WorkerCrashed(
        f"The worker of model {model!r} gave no sign of life and was ended while it held this request; "
        "send the request again, a new worker will be started."
    )


def how_it_ended(status: int | None) -> str:
    """ "was killed (SIGKILL)", "crashed (SIGSEGV)", "ended with status 3"."""
    if status is None:
        return "closed its connection"
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed ({name})" if name in {"SIGKILL", "SIGTERM"} else f"crashed ({name})"


def _telling(lines: Sequence[str]) -> str:
    telling = [line for line in lines if TELLING.search(line)]
    return _quoted((telling or list(lines))[-1]) if lines else ""


def _quoted(line: str) -> str:
    return FOLDERS.sub("", line).strip().rstrip(".")[:MAX_QUOTE]
