"""aiohttp's own log, without what strangers send.

A request that is no HTTP is no error of the node, and aiohttp would log its bytes, which may hold a key or
a prompt.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

log = logging.getLogger(__name__)


def protocol_logger() -> logging.Logger:
    """A logger to hand to aiohttp's server. Its lines go where this module's go."""
    logger = logging.Logger(f"{__name__}.aiohttp")
    logger.parent = log
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | RequestPayloadError):
        return True
    log.debug("A request that is no proper HTTP was refused")
    return False
