"""Exit codes of the program; `docs/cli.md` documents them."""

from app.cli.host import CommandError
from app.client.errors import ClientError

OK = 0
FAILURE = 1
USAGE = 2
NOT_RUNNING = 3
INTERRUPTED = 130

_UNREACHABLE = frozenset({"not_running", "connection_lost"})


def of_client_error(error: ClientError) -> CommandError:
    """The failure of the command that met `error`."""
    return CommandError(error.message, NOT_RUNNING if error.code in _UNREACHABLE else FAILURE)
