"""What the streamed objects of the chat and the completions endpoint share.

It runs once per token: the parts of an event that never change are encoded once.
"""

from typing import Any, Final

import msgspec

from app.core.api.openai.errors import error_body
from app.core.api.openai.usage import NO_USAGE, timing_fields, usage_fields
from app.core.api.problems import Problem
from app.core.kernel.generation import Usage

DONE: Final = b"data: [DONE]\n\n"
encode = msgspec.json.Encoder().encode


class Envelope:
    """The events of one answer. With `include_usage`, the last one before [DONE] carries the usage, and
    the others say null, as OpenAI's API does."""

    def __init__(self, *, kind: str, answer_id: str, created: int, include_usage: bool) -> None:
        self._fixed = {"id": answer_id, "object": kind, "created": created, "system_fingerprint": None}
        self._include_usage = include_usage
        self._head = b""
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._usage = NO_USAGE

    def start(self, model: str) -> None:
        """To be called before any event is made."""
        self._head = b"data: " + encode(self._fixed | {"model": model})[:-1] + b',"choices":['

    def keep(self, usage: Usage) -> None:
        self._usage = usage

    def around(self, before: bytes, after: bytes) -> tuple[bytes, bytes]:
        """What stands before and after the text in an event whose choice is `before` text `after`."""
        return self._head + before, after + self._tail

    def event(self, choice: dict[str, Any]) -> bytes:
        return b"".join((self._head, encode(choice), self._tail))

    def end(self) -> bytes:
        if not self._include_usage:
            return DONE
        tail = {"usage": usage_fields(self._usage), "timings": timing_fields(self._usage)}
        return b"".join((self._head, b"],", encode(tail)[1:], b"\n\n", DONE))

    def fail(self, problem: Problem) -> bytes:
        return b"data: " + error_body(problem) + b"\n\n"
