"""OpenAI's shape of an error: {"error": {"message", "type", "param", "code"}}."""

from typing import Final

import msgspec

from app.core.api.problems import Problem

TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(problem: Problem) -> bytes:
    kind = TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    error = {"message": problem.message, "type": kind, "param": problem.param, "code": problem.code}
    return msgspec.json.encode({"error": error})
