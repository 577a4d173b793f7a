"""The one error tree.

An expected failure is a `SwarmError`: its message is a full sentence that a user can read and act on,
its `code` is stable and is what clients, logs and tests compare. Anything else that is raised is a bug
and ends up as a traceback in the log. Messages never contain secrets, prompts or keys.
"""

from typing import ClassVar


class SwarmError(Exception):
    """Base of every expected error.

    `param` names the request field or option that is to blame, where there is one.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(SwarmError):
    """The request cannot be carried out as it stands; sending it again will not help."""

    code = "invalid_request"


class InvalidGrammar(InvalidRequest):
    """A GBNF grammar or a JSON schema that cannot be compiled."""

    code = "invalid_grammar"


class ContextOverflow(InvalidRequest):
    """Prompt and requested tokens do not fit into the model's context."""

    code = "context_length_exceeded"


class Unsupported(InvalidRequest):
    """The model or this build cannot do what was asked."""

    code = "unsupported"


class NotFound(SwarmError):
    """What was named does not exist."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No model of that name is on this node."""

    code = "model_not_found"


class Conflict(SwarmError):
    """The state of the node forbids the action now, e.g. a model that is in use."""

    code = "conflict"


class Overloaded(SwarmError):
    """The queue is full; try again later."""

    code = "overloaded"


class WorkerCrashed(SwarmError):
    """The worker process that held this request ended; a new request starts a new one."""

    code = "worker_crashed"


class LoadFailed(SwarmError):
    """A model's files could not be loaded."""

    code = "load_failed"


class OutOfMemory(LoadFailed):
    """The model does not fit into the memory that is free."""

    code = "out_of_memory"


class BadModelFile(SwarmError):
    """A model file is damaged, hostile or of a kind this node cannot read."""

    code = "bad_model_file"


class ConfigError(SwarmError):
    """A configuration value is wrong; the message names source, key and bound."""

    code = "config_error"


class StorageError(SwarmError):
    """The database or the data directory cannot be used."""

    code = "storage_error"


class DiskFull(StorageError):
    """There is not enough free disk space."""

    code = "disk_full"


class SecretsError(SwarmError):
    """The keychain or the vault cannot be used."""

    code = "secrets_error"


class AccessDenied(SwarmError):
    """Somebody else's server wants an access token, or its conditions accepted."""

    code = "access_denied"


class NetworkError(SwarmError):
    """A peer or a server could not be reached or broke off."""

    code = "network_error"


BY_CODE: dict[str, type[SwarmError]] = {}


def _index(kind: type[SwarmError]) -> None:
    BY_CODE[kind.code] = kind
    for child in kind.__subclasses__():
        _index(child)


_index(SwarmError)


def error_from_code(code: str, message: str, param: str | None = None) -> SwarmError:
    """The error that `code` stands for, as it came over a process or network border."""
    return BY_CODE.get(code, SwarmError)(message, param=param)
