"""Reading a request's JSON body within bounds, and saying which field is wrong.

JSON is decoded by msgspec (RFC 8259: no NaN, no lone surrogates) and then validated strictly by pydantic,
so that "1" is no number and 1 is no boolean. Unknown fields are ignored, as OpenAI's API does.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ValidationError

from app.core.api.problems import BodyTimeout, BodyTooLarge, WrongMediaType
from app.core.kernel.errors import InvalidRequest
from app.core.kernel.units import MIB

MAX_BODY: Final = 32 * MIB
MAX_VALUES: Final = 1_000_000
READ_SECONDS: Final = 300.0

M = TypeVar("M", bound=BaseModel)


class InvalidJson(InvalidRequest):
    """The body is not JSON."""

    code = "invalid_json"


async def read_json(request: web.Request, model: type[M]) -> M:
    """The body of `request` as `model`. Raises InvalidRequest and its kin."""
    if not _is_json(request.content_type):
        raise WrongMediaType("Send the body as JSON, with the header 'Content-Type: application/json'.")
    return parse(await read_body(request), model)


async def read_body(request: web.Request) -> bytes:
    """At most MAX_BODY bytes, within READ_SECONDS. Raises BodyTooLarge and BodyTimeout."""
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > MAX_BODY:
                    raise _too_large()
                parts.append(part)
    except TimeoutError:
        raise BodyTimeout(f"The request's body did not arrive within {READ_SECONDS:.0f} seconds.") from None
    except web.RequestPayloadError:
        raise InvalidRequest("The request's body ended early or is badly encoded.") from None
    return b"".join(parts)


def parse(body: bytes, model: type[M]) -> M:
    """`body` as `model`. Raises InvalidRequest.

    The bound on values comes first: a body of nothing but brackets takes twenty times its size in memory.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BodyTooLarge(f"The request's body holds more than {MAX_VALUES:,} values.")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidJson(f"We could not parse the JSON body of your request: {reason}.") from None
    if not isinstance(value, dict):
        raise InvalidJson("The body of this request has to be a JSON object.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid(error, value) from None


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than the limit of {MAX_BODY // MIB} MiB.")


def _invalid(error: ValidationError, value: dict[str, Any]) -> InvalidRequest:
    """The first complaint that lies deepest: in a union, that of the branch which fits best."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    paths = [(_path(detail["loc"], value, missing=detail["type"] == "missing"), detail) for detail in details]
    first = paths[0][0]
    rivals = [pair for pair in paths if pair[0][:1] == first[:1]]
    path, detail = max(rivals, key=lambda pair: len(pair[0]))
    param = _dotted(path)
    if detail["type"] == "missing":
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
    return InvalidRequest(f"Invalid value for '{param}': {_sentence(detail['msg'])}", param=param)


def _sentence(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:] + ("" if text.endswith(".") else ".")


def _path(loc: Sequence[int | str], value: Any, *, missing: bool) -> tuple[int | str, ...]:
    """`loc` without pydantic's names of union branches: only steps that exist in the body."""
    path: list[int | str] = []
    for place, step in enumerate(loc):
        if _has(value, step):
            value = value[step]
        elif not (missing and place == len(loc) - 1):
            continue
        path.append(step)
    return tuple(path)


def _has(value: object, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _dotted(path: Sequence[int | str]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")
