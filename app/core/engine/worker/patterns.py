"""Regular expressions of JSON schemas as GBNF, for text inside a JSON string. Pure.

Read with Python's own parser of regular expressions, whose dialect holds what schemas use. Characters
that JSON escapes are written escaped. Look-around and back references have no grammar.
"""

import re
import warnings
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

from app.core.kernel.errors import InvalidGrammar

MAX_PATTERN: Final = 4096
ANY: Final = "char"
_CATEGORIES: Final = {
    sre.CATEGORY_DIGIT: "0-9",
    sre.CATEGORY_WORD: "a-zA-Z0-9_",
    sre.CATEGORY_SPACE: " ",
}
_ESCAPED: Final = {'"': '"\\\\\\""', "\\": '"\\\\\\\\"', "\n": '"\\\\n"', "\t": '"\\\\t"', "\r": '"\\\\r"'}


def to_gbnf(pattern: str) -> str:
    """A GBNF expression for strings that `pattern` matches (anywhere in them, unless it is anchored).

    Uses the rule `char`, one character of a JSON string. Raises InvalidGrammar.
    """
    if len(pattern) > MAX_PATTERN:
        raise _refuse("it is too long")
    parsed = _parsed(pattern)
    before, after = f"{ANY}* ", f" {ANY}*"
    if parsed and parsed[0] == (sre.AT, sre.AT_BEGINNING):
        parsed, before = parsed[1:], ""
    if parsed and parsed[-1] == (sre.AT, sre.AT_END):
        parsed, after = parsed[:-1], ""
    return f"({before}{_sequence(parsed)}{after})"


def _parsed(pattern: str) -> list[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _refuse(str(error)) from error
    if found.state.flags & ~re.UNICODE:
        raise _refuse("flags are not supported")
    return list(found)


def _refuse(what: str) -> InvalidGrammar:
    return InvalidGrammar(f'A "pattern" of the JSON schema cannot be enforced: {what[:200]}.', param="schema")


def _sequence(parts: Any) -> str:
    return " ".join(_part(*part) for part in parts) or '""'


def _part(kind: Any, value: Any) -> str:
    if kind is sre.LITERAL:
        return _literal(chr(value))
    if kind is sre.ANY:
        return ANY
    if kind is sre.NOT_LITERAL:
        return _set([(sre.NEGATE, None), (sre.LITERAL, value)])
    if kind is sre.IN:
        return _set(value)
    if kind is sre.BRANCH:
        return "(" + " | ".join(_sequence(branch) for branch in value[1]) + ")"
    if kind is sre.SUBPATTERN and not (value[1] or value[2]):
        return f"({_sequence(value[3])})"
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = value
        return f"({_sequence(inner)}){{{least},{'' if most is sre.MAXREPEAT else most}}}"
    raise _refuse(f"{str(kind).lower()} is not supported")


def _literal(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    if char < " ":
        return f'"\\\\u{ord(char):04x}"'
    return f'"{char}"'


def _set(items: Any) -> str:
    negated = bool(items) and items[0][0] is sre.NEGATE
    inside, escaped = "", []
    for kind, value in items[1:] if negated else items:
        if kind is sre.LITERAL and chr(value) in _ESCAPED:
            escaped.append(_ESCAPED[chr(value)])
        elif kind is sre.LITERAL:
            inside += _in_set(value)
        elif kind is sre.RANGE:
            inside += f"{_in_set(value[0])}-{_in_set(value[1])}"
        elif kind is sre.CATEGORY and value in _CATEGORIES:
            inside += _CATEGORIES[value]
        elif kind is sre.CATEGORY and not negated and len(items) == 1 and value in _NEGATIVE:
            return f'[^"\\\\\\x00-\\x1F{_CATEGORIES[_NEGATIVE[value]]}]'
        else:
            raise _refuse("a set in it is not supported")
    if negated:
        return f'[^"\\\\\\x00-\\x1F{inside}]'
    options = ([f"[{inside}]"] if inside else []) + escaped
    return options[0] if len(options) == 1 else "(" + " | ".join(options) + ")"


_NEGATIVE: Final = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
}


def _in_set(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"
