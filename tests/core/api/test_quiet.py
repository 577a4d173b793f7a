"""What strangers send stays out of the log."""

import asyncio
import logging

import pytest

from app.core.api.quiet import protocol_logger
from tests.support.api_server import serving


async def test_the_bytes_of_a_broken_request_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nAuthorization: Bearer my-secret" + b"x" * 20_000 + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.transport.abort()
    assert "is no proper HTTP" in caplog.text
    assert "my-secret" not in caplog.text


@pytest.mark.logs_errors
def test_errors_of_our_own_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    logger = protocol_logger()
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        logger.exception("It failed")
    assert "a bug" in caplog.text
