"""What goes wrong between a client and the node, as one error with a sentence for the user."""

import msgspec


class ClientError(Exception):
    """A call that did not succeed.

    `code` is stable: one of the node's error codes, or "not_running", "timeout", "connection_lost",
    "bad_answer". `status` is the HTTP status where the node answered.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after


class _Error(msgspec.Struct):
    message: str
    code: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_ErrorBody).decode


def error_in(body: bytes, *, status: int | None = None, retry_after: str | None = None) -> ClientError | None:
    """The error that `body` tells of in OpenAI's shape; None where it is something else."""
    try:
        error = _decode(body).error
    except msgspec.DecodeError:
        return None
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return ClientError(error.code or "unknown", error.message, status=status, retry_after=seconds)


def not_running(url: str) -> ClientError:
    return ClientError("not_running", f"No node is running at {url}. Start one with `swarmllm run`.")


def timed_out(url: str) -> ClientError:
    return ClientError("timeout", f"The node at {url} did not answer in time.")


def connection_lost(url: str) -> ClientError:
    return ClientError("connection_lost", f"The connection to the node at {url} broke off.")


def bad_answer(url: str) -> ClientError:
    return ClientError("bad_answer", f"What answers at {url} is not a node that this program understands.")
