"""Sends log records to stderr and, if asked, to a file; as lines for people or as JSON.

Records never carry secrets by the rules of this project; bearer tokens are blanked all the same, because
libraries write what they like.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from app.core.config.settings import LoggingSettings
from app.core.kernel.errors import ConfigError

TRACE = 5
FILE_BYTES = 10 << 20
FILES_KEPT = 3

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_NAMES = {
    logging.CRITICAL: "error",
    logging.ERROR: "error",
    logging.WARNING: "warn",
    logging.INFO: "info",
    logging.DEBUG: "debug",
    TRACE: "trace",
}
_BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s'\",]{8,}")


@contextmanager
def logging_to(settings: LoggingSettings, *, stream: TextIO | None = None) -> Iterator[None]:
    """Logs as `settings` say while inside. Raises ConfigError if the log file cannot be opened."""
    formatter = JsonFormatter() if settings.format == "json" else PrettyFormatter()
    handlers: list[logging.Handler] = [logging.StreamHandler(stream or sys.stderr)]
    if settings.file is not None:
        handlers.append(_file_handler(settings.file))
    root = logging.getLogger()
    before = root.level
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(_LEVELS[settings.level])
    _quieten_libraries(settings.level)
    try:
        yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            if handler is not handlers[0]:
                handler.close()


class PrettyFormatter(logging.Formatter):
    """`12:30:01 warn  app.core.node: message`; one record may span lines only for a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {level_name(record):<5} {record.name}: {_message(record)}"
        return (
            line if record.exc_info is None else f"{line}\n{_blanked(self.formatException(record.exc_info))}"
        )


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and error for a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": level_name(record),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info is not None:
            fields["error"] = _blanked(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def level_name(record: logging.LogRecord) -> str:
    """The record's level in the words of `logging.level`."""
    return _NAMES.get(record.levelno, record.levelname.lower())


def _message(record: logging.LogRecord) -> str:
    # A line break would let a logged text forge another record.
    return _blanked(record.getMessage()).replace("\r", "\\r").replace("\n", "\\n")


def _blanked(text: str) -> str:
    return _BEARER.sub(r"\1***", text)


def _file_handler(file: Path) -> logging.Handler:
    try:
        return RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"logging.file: {file} cannot be opened for writing: {error.strerror}.", param="logging.file"
        ) from error


def _quieten_libraries(level: str) -> None:
    """Libraries' details are for `trace` only."""
    for name in ("asyncio", "aiohttp", "keyring", "libp2p", "markdown_it", "qasync", "trio"):
        logging.getLogger(name).setLevel(logging.NOTSET if level == "trace" else logging.WARNING)
