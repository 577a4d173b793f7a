"""Reads JSON as it is being written: where values end, and tool calls inside of them."""

import json
import re
from collections.abc import Collection
from enum import Enum, auto
from typing import Any, Final, Protocol

STRUCTURE: Final = re.compile(r'["{}\[\]]')
STRING_END: Final = re.compile(r'["\\]')
SCALAR_END: Final = re.compile(r"[,\]}\s]")
SPACE: Final = " \t\r\n"
NAME_KEYS: Final = ("name", "tool_name")
ARGUMENT_KEYS: Final = ("arguments", "parameters")
CALL_KEYS: Final = frozenset(
    {*NAME_KEYS, *ARGUMENT_KEYS, "id", "tool_call_id", "type", "function", "tool_call", "tool_calls"}
)


class Outcome(Enum):
    """`MORE`: everything was consumed and more is needed. `BROKEN`: this is not what was looked for."""

    MORE = auto()
    DONE = auto()
    BROKEN = auto()


class CallSink(Protocol):
    """Takes the calls that a reader finds; `begin` once per call, then `arguments` any number of times."""

    def begin(self, name: str) -> None: ...
    def arguments(self, text: str) -> None: ...


class ValueEnd:
    """Finds the end of one JSON value that arrives in parts. Brackets are counted, not matched by kind."""

    def __init__(self) -> None:
        self._depth = 0
        self._string = False
        self._escaped = False
        self._scalar = False

    def scan(self, text: str, start: int) -> tuple[int, bool]:
        """Where scanning of `text` from `start` got to, and whether the value ends there."""
        position = start
        while position < len(text):
            if self._string:
                position, closed = self._in_string(text, position)
                if closed and self._depth == 0:
                    return position, True
                continue
            if self._scalar or (self._depth == 0 and text[position] not in '"{['):
                self._scalar = True
                end = SCALAR_END.search(text, position)
                return (end.start(), True) if end else (len(text), False)
            position = self._structure(text, position)
            if self._depth == 0 and not self._string:
                return position, True
        return len(text), False

    def _in_string(self, text: str, position: int) -> tuple[int, bool]:
        if self._escaped:
            self._escaped = False
            return position + 1, False
        found = STRING_END.search(text, position)
        if not found:
            return len(text), False
        if found.group() == "\\":
            self._escaped = True
            return found.end(), False
        self._string = False
        return found.end(), True

    def _structure(self, text: str, position: int) -> int:
        found = STRUCTURE.search(text, position)
        if not found:
            return len(text)
        if found.group() == '"':
            self._string = True
        else:
            self._depth += 1 if found.group() in "{[" else -1
        return found.end()


class CallReader:
    """One `{"name": ..., "arguments": {...}}` object, its arguments passed on while they arrive.

    `known` tool names make it strict: other names, or keys that no call has, mean BROKEN at the first
    sight of them, so that ordinary JSON is not held back. What `begin` was called for stays a call even
    if its arguments turn out malformed; anything malformed before that is BROKEN.
    """

    def __init__(self, *, sink: CallSink, known: Collection[str] | None) -> None:
        self._sink = sink
        self._known = known
        self._raw = ""
        self._at = 0
        self._expect = self._open
        self._key = ""
        self._name: str | None = None
        self._value: ValueEnd | None = None
        self._value_start = 0
        self._arguments_start: int | None = None
        self._arguments_sent = 0
        self._arguments_end: int | None = None
        self.begun = False

    @property
    def taken(self) -> str:
        """What was read so far."""
        return self._raw[: self._at]

    def read(self, text: str) -> tuple[Outcome, str]:
        """The outcome, and what of the text does not belong to the object any more."""
        self._raw += text
        while self._at < len(self._raw):
            outcome = self._expect()
            if outcome is Outcome.MORE:
                continue
            if outcome is Outcome.DONE:
                outcome = self._complete()
            return outcome, self._raw[self._at :]
        self._send()
        return Outcome.MORE, ""

    def _open(self) -> Outcome:
        self._expect = self._key_or_end
        return self._skip("{")

    def _key_or_end(self) -> Outcome:
        char = self._raw[self._at]
        if char in SPACE:
            return self._skip(char)
        if char == "}":
            self._at += 1
            return Outcome.DONE
        if char != '"':
            return self._broken()
        self._start_value(self._key_text)
        return Outcome.MORE

    def _key_text(self) -> Outcome:
        span = self._finish_value()
        if span is None:
            return Outcome.MORE
        try:
            self._key = json.loads(span)
        except ValueError:
            return self._broken()
        if self._known is not None and self._key not in CALL_KEYS:
            return self._broken()
        self._expect = self._colon
        return Outcome.MORE

    def _colon(self) -> Outcome:
        char = self._raw[self._at]
        if char not in SPACE:
            self._expect = self._before_value
        return self._skip(char) if char in SPACE else self._skip(":")

    def _before_value(self) -> Outcome:
        char = self._raw[self._at]
        if char in SPACE:
            return self._skip(char)
        if self._key in ARGUMENT_KEYS and char == "{":
            self._arguments_start = self._arguments_sent = self._at
            self._begin()
        self._start_value(self._inside_value)
        return Outcome.MORE

    def _inside_value(self) -> Outcome:
        span = self._finish_value()
        if span is None:
            return Outcome.MORE
        if self._key in ARGUMENT_KEYS and span.startswith("{"):
            self._arguments_end = self._at
            self._send()
        elif self._key in NAME_KEYS and not self._named(span):
            return self._broken()
        self._expect = self._comma_or_end
        return Outcome.MORE

    def _comma_or_end(self) -> Outcome:
        char = self._raw[self._at]
        if char == "}":
            self._at += 1
            return Outcome.DONE
        if char not in SPACE:
            self._expect = self._key_or_end
        return self._skip(char) if char in SPACE else self._skip(",")

    def _skip(self, char: str) -> Outcome:
        if self._raw[self._at] != char:
            return self._broken()
        self._at += 1
        return Outcome.MORE

    def _start_value(self, then: Any) -> None:
        self._value = ValueEnd()
        self._value_start = self._at
        self._expect = then

    def _finish_value(self) -> str | None:
        assert self._value is not None
        self._at, complete = self._value.scan(self._raw, self._at)
        return self._raw[self._value_start : self._at] if complete else None

    def _named(self, span: str) -> bool:
        try:
            name = json.loads(span)
        except ValueError:
            return False
        if not isinstance(name, str) or not name or (self._known is not None and name not in self._known):
            return False
        self._name = name
        self._begin()
        return True

    def _begin(self) -> None:
        if not self.begun and self._name is not None and self._arguments_start is not None:
            self.begun = True
            self._sink.begin(self._name)

    def _send(self) -> None:
        if self.begun and self._arguments_start is not None:
            end = self._at if self._arguments_end is None else self._arguments_end
            if end > self._arguments_sent:
                self._sink.arguments(self._raw[self._arguments_sent : end])
                self._arguments_sent = end

    def _broken(self) -> Outcome:
        self._send()
        return Outcome.DONE if self.begun else Outcome.BROKEN

    def _complete(self) -> Outcome:
        self._send()
        if self.begun:
            return Outcome.DONE
        calls = calls_in(self._raw[: self._at], self._known)
        for name, arguments in calls or ():
            self.begun = True
            self._sink.begin(name)
            self._sink.arguments(arguments)
        return Outcome.DONE if calls else Outcome.BROKEN


def calls_in(text: str, known: Collection[str] | None) -> list[tuple[str, str]] | None:
    """Name and arguments (JSON text) of the calls that JSON `text` describes; None if it does not."""
    try:
        return _calls(json.loads(text), known)
    except (ValueError, RecursionError):
        return None


def _calls(value: Any, known: Collection[str] | None) -> list[tuple[str, str]] | None:
    if isinstance(value, list):
        found = [_calls(item, known) for item in value]
        return [call for calls in found for call in calls or ()] if found and all(found) else None
    if not isinstance(value, dict):
        return None
    for key in ("tool_calls", "tool_call", "function"):
        if isinstance(value.get(key), dict | list):
            return _calls(value[key], known)
    name = value.get("name", value.get("tool_name"))
    if not isinstance(name, str) or not name or (known is not None and name not in known):
        return None
    arguments = value.get("arguments", value.get("parameters"))
    text = arguments_text(arguments)
    return None if text is None else [(name, text)]


def arguments_text(arguments: Any) -> str | None:
    """Arguments as JSON text of an object; None if they are something else."""
    if arguments is None:
        return "{}"
    if isinstance(arguments, dict):
        return json.dumps(arguments, ensure_ascii=False)
    if isinstance(arguments, str):
        try:
            return arguments if isinstance(json.loads(arguments), dict) else None
        except ValueError:
            return None
    return None
