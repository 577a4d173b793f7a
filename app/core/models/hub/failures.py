"""What goes wrong with a hub, which of it is worth another attempt, and how long to wait before that."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp

from app.core.kernel.errors import NetworkError
from app.core.kernel.units import human_seconds

T = TypeVar("T")


class Unreliable(NetworkError):
    """Worth another attempt. `retry_after` are the seconds that the server asks to wait, if it does."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Moved(Unreliable):
    """The address that the hub gave for a file is no longer valid; it gives a new one."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """`attempts` in all, with pauses of `base` seconds, doubled each time, or what the server asks for.

    A server that asks for more than `longest` seconds is not waited for.
    """

    attempts: int = 3
    base: float = 1.0
    longest: float = 300.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def wait(self, failed: int, error: Unreliable) -> None:
        """Returns when the next attempt is due after `failed` ones. Raises NetworkError if none is."""
        if failed >= self.attempts:
            raise NetworkError(f"{error.message} {self.attempts} attempts failed.") from error
        asked = error.retry_after or 0.0
        if asked > self.longest:
            raise NetworkError(f"{error.message} It asks to wait {human_seconds(asked)}.") from error
        await self.sleep(max(self.base * 2 ** (failed - 1), asked))

    async def persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns, in as many attempts as it takes."""
        failed = 0
        while True:
            try:
                return await work()
            except Unreliable as error:
                failed += 1
                await self.wait(failed, error)


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; None if it makes no sense."""
    if not header or len(header) > 64:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
        return max(0.0, (date - now).total_seconds()) if date.tzinfo else None
    except ValueError:
        return None


@contextlib.contextmanager
def on_the_wire(host: str) -> Iterator[None]:
    """Turns what goes wrong between here and `host` into Unreliable."""
    try:
        yield
    except (TimeoutError, aiohttp.ServerTimeoutError):
        raise Unreliable(f"{host} stopped answering.") from None
    except aiohttp.ClientConnectorError as error:
        raise Unreliable(f"{host} cannot be reached: {error.strerror or 'no connection'}.") from None
    except (aiohttp.ClientError, OSError):
        raise Unreliable(f"The connection to {host} broke off.") from None


@contextlib.contextmanager
def ungrouped() -> Iterator[None]:
    """What a task group inside raises, as the one error that came first."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
