"""Reads what follows a tool call marker: one call, a list of them, `name{...}`, or a maker's own markup."""

# ruff: noqa: RUF001 - DeepSeek's markers are made of these characters

import re
from collections.abc import Callable, Sequence
from typing import Final

from app.core.engine.chat.bodies import markup_calls, python_calls
from app.core.engine.chat.families import Tag
from app.core.engine.chat.jsonscan import (
    SPACE,
    CallReader,
    CallSink,
    Outcome,
    ValueEnd,
)
from app.core.kernel.generation import Tool

MAX_NAME: Final = 256
FUNCTION_MARK: Final = "<function="
NAMED: Final = re.compile(
    r"\s*(?:function<｜tool▁sep｜>)?(?:functions\.)?([\w.\-]+)(?::\d+)?"
    r"(?:\s|<｜tool▁sep｜>|<\|tool_call_argument_begin\|>|\[CALL_ID\]\w*|\[ARGS\]|```(?:json)?"
    r"|<\|channel\|>commentary|<\|constrain\|>|json|<\|message\|>)*\{"
)
NAMED_SO_FAR: Final = re.compile(r"[\w.\-:\s\[\]<>|｜▁`]*\Z")


class TaggedReader:
    """Everything between a marker and its closer. A missing closer after complete JSON is forgiven.

    Raises nothing; what is not a call is BROKEN, and the caller shows it as text.
    """

    def __init__(self, *, sink: CallSink, tag: Tag, tools: Sequence[Tool]) -> None:
        self._sink = sink
        self._closer = tag.closer
        self._kind = tag.kind
        self._tools = tools
        self._step: Callable[[], Outcome | None] = self._markup_body if tag.kind == "markup" else self._start
        self._raw = ""
        self._at = 0
        self._searched = 0
        self._call: CallReader | None = None
        self._value: ValueEnd | None = None
        self._in_list = False
        self.begun = False

    @property
    def taken(self) -> str:
        """What was read so far."""
        return self._raw[: self._at]

    def read(self, text: str) -> tuple[Outcome, str]:
        """The outcome, and what of the text does not belong to the calls any more."""
        self._searched = max(0, len(self._raw) - len(self._closer or ""))
        self._raw += text
        while True:
            at, step = self._at, self._step
            outcome = self._step()
            if outcome in (Outcome.DONE, Outcome.BROKEN):
                return outcome, self._raw[self._at :]
            if outcome is None or (at == self._at and step == self._step):
                return Outcome.MORE, ""

    def finish(self) -> Outcome:
        """Nothing more comes: whether what was read is a call after all."""
        if self.begun:
            return Outcome.DONE
        calls: list[tuple[str, str]] = []
        if self._step in (self._markup_head, self._markup_body):
            calls = markup_calls(self._raw, self._tools)
        elif self._step == self._python:
            calls = python_calls(self._raw, self._tools)
        self._at = len(self._raw)
        self._call_all(calls)
        if calls:
            return Outcome.DONE
        return Outcome.BROKEN

    def _char(self, skipped: str = SPACE) -> str | None:
        """The next character that is not `skipped`; the position moves onto it."""
        while self._at < len(self._raw):
            if self._raw[self._at] not in skipped:
                return self._raw[self._at]
            self._at += 1
        return None

    def _start(self) -> Outcome | None:
        char = self._char()
        if char is None:
            return None
        if char == "[" and not self._in_list:
            self._in_list = True
            self._at += 1
        elif char == "{":
            self._call = CallReader(sink=self._sink, known=None)
            self._step = self._object
        elif self._kind == "named":
            self._step = self._named
        elif self._kind == "code":
            self._step = self._python
        else:
            self._step = self._markup_head
        return Outcome.MORE

    def _object(self) -> Outcome | None:
        assert self._call is not None
        outcome, rest = self._call.read(self._raw[self._at :])
        self._at = len(self._raw) - len(rest)
        self.begun |= self._call.begun
        if outcome is Outcome.DONE:
            self._step = self._between if self._in_list else self._close
            return Outcome.MORE
        return None if outcome is Outcome.MORE else self._ended()

    def _between(self) -> Outcome | None:
        char = self._char()
        if char is None:
            return None
        if char not in ",]":
            return self._ended()
        self._at += 1
        self._step = self._next_object if char == "," else self._close
        return Outcome.MORE

    def _next_object(self) -> Outcome | None:
        char = self._char()
        if char is None:
            return None
        if char != "{":
            return self._ended()
        self._call = CallReader(sink=self._sink, known=None)
        self._step = self._object
        return Outcome.MORE

    def _close(self) -> Outcome | None:
        if self._closer is None:
            return Outcome.DONE
        at = self._at
        if self._char(SPACE + "`") is None:
            return None
        rest = self._raw[self._at : self._at + len(self._closer)]
        if rest == self._closer:
            self._at += len(self._closer)
        elif self._closer.startswith(rest):
            return None
        else:
            self._at = at
        return Outcome.DONE

    def _named(self) -> Outcome | None:
        found = NAMED.match(self._raw, self._at)
        if found and len(found.group(1)) <= MAX_NAME:
            self.begun = True
            self._sink.begin(found.group(1))
            self._at = found.end() - 1
            self._value = ValueEnd()
            self._step = self._arguments
            return Outcome.MORE
        possible = NAMED_SO_FAR.match(self._raw, self._at) and len(self._raw) - self._at <= 2 * MAX_NAME
        return None if possible else Outcome.BROKEN

    def _arguments(self) -> Outcome | None:
        assert self._value is not None
        at = self._at
        self._at, complete = self._value.scan(self._raw, at)
        if self._at > at:
            self._sink.arguments(self._raw[at : self._at])
        if not complete:
            return None
        self._step = self._close
        return Outcome.MORE

    def _markup_head(self) -> Outcome | None:
        """Markup instead of JSON begins with a tool's name or a further marker; prose that only mentions
        the opener does not, and is let go at once.
        """
        heads = [FUNCTION_MARK, *(tool.name for tool in self._tools)] if self._closer else []
        head = self._raw[self._at :]
        if any(head.startswith(each) for each in heads):
            self._step = self._markup_body
            return Outcome.MORE
        return None if any(each.startswith(head) for each in heads) else Outcome.BROKEN

    def _markup_body(self) -> Outcome | None:
        assert self._closer is not None
        end = self._raw.find(self._closer, self._searched)
        if end < 0:
            return None
        self._at = end + len(self._closer)
        calls = markup_calls(self._raw[:end], self._tools)
        self._call_all(calls)
        return Outcome.DONE if calls else Outcome.BROKEN

    def _python(self) -> Outcome | None:
        self._at = len(self._raw)
        return None

    def _call_all(self, calls: Sequence[tuple[str, str]]) -> None:
        for name, arguments in calls:
            self.begun = True
            self._sink.begin(name)
            self._sink.arguments(arguments)

    def _ended(self) -> Outcome:
        return Outcome.DONE if self.begun else Outcome.BROKEN
