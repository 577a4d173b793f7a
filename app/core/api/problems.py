"""Errors as HTTP sees them, before a dialect gives them its shape.

The one table from the error tree to status codes is `STATUS`; the nearest class in an error's ancestry
counts. What is not in the tree is a bug: 500, and nothing of its text leaves the node.
"""

from typing import Final

import msgspec

from app.core.kernel import errors


class Unauthorized(errors.SwarmError):
    """The request carries no key, or a wrong one."""

    code = "invalid_api_key"


class Forbidden(errors.SwarmError):
    """The request comes from a web page that has no business here."""

    code = "forbidden"


class RateLimited(errors.SwarmError):
    """Too many requests from one address; `retry_after` is in seconds."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RouteNotFound(errors.NotFound):
    code = "unknown_url"


class MethodNotAllowed(errors.InvalidRequest):
    """`allowed` names the methods that the path knows."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: frozenset[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


class BodyTooLarge(errors.InvalidRequest):
    code = "request_too_large"


class BodyTimeout(errors.InvalidRequest):
    code = "request_timeout"


class WrongMediaType(errors.InvalidRequest):
    code = "unsupported_media_type"


STATUS: Final[dict[type[errors.SwarmError], int]] = {
    errors.InvalidRequest: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Overloaded: 503,
    errors.WorkerCrashed: 502,
    errors.LoadFailed: 500,
    errors.OutOfMemory: 503,
    errors.BadModelFile: 422,
    errors.ConfigError: 400,
    errors.StorageError: 500,
    errors.DiskFull: 507,
    errors.AccessDenied: 403,
    errors.NetworkError: 502,
    errors.SwarmError: 500,
    Unauthorized: 401,
    Forbidden: 403,
    RateLimited: 429,
    MethodNotAllowed: 405,
    BodyTooLarge: 413,
    BodyTimeout: 408,
    WrongMediaType: 415,
}
OVERLOAD_RETRY_SECONDS: Final = 1


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error, ready to be given a dialect's shape. `headers` belong to the answer in every dialect."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: dict[str, str] = {}


UNEXPECTED: Final = Problem(
    status=500,
    code="internal_error",
    message="The node failed on this request. Its log says where; please report it.",
)


def problem_of(error: BaseException) -> Problem:
    """What a client is told of `error`."""
    if not isinstance(error, errors.SwarmError):
        return UNEXPECTED
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return Problem(
        status=status,
        code=error.code,
        message=error.message,
        param=error.param,
        headers=_headers(error),
    )


def _headers(error: errors.SwarmError) -> dict[str, str]:
    match error:
        case RateLimited(retry_after=seconds):
            return {"Retry-After": str(seconds)}
        case errors.Overloaded():
            return {"Retry-After": str(OVERLOAD_RETRY_SECONDS)}
        case MethodNotAllowed(allowed=methods):
            return {"Allow": ", ".join(sorted(methods))}
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}
