"""What commands share that call a node."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.cli.failures import of_client_error
from app.cli.host import Flags, Host
from app.client.client import Client
from app.client.errors import ClientError

T = TypeVar("T")


def call(host: Host, flags: Flags, action: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `action` with a client of the running node. Raises CommandError."""
    connection = host.connection(flags)

    async def with_client() -> T:
        async with Client(connection.url, connection.token) as client:
            return await action(client)

    try:
        return asyncio.run(with_client())
    except ClientError as error:
        raise of_client_error(error) from error
