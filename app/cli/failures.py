"""What a failed call of the node means for the command."""

from app.cli import exits
from app.cli.host import CommandError
from app.client.errors import ClientError

_UNREACHABLE = frozenset({"not_running", "connection_lost"})


def of_client_error(error: ClientError) -> CommandError:
    """The failure of the command that met `error`."""
    return CommandError(error.message, exits.NOT_RUNNING if error.code in _UNREACHABLE else exits.FAILURE)
