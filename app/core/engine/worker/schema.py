"""JSON schemas as GBNF. Pure.

What a grammar can enforce is enforced: types, properties and which are required, nesting, references,
alternatives, constants, lengths and numbers of items, common formats, regular expressions without look-
around. What it cannot (ranges of numbers, uniqueness, `description` and other notes) is left to the model.
Properties come in the order in which the schema lists them, and no others unless it says so, as
constrained output is usually meant. `not`, `if` and their like are refused: what cannot be kept is not
promised.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.engine.worker import patterns
from app.core.kernel.errors import InvalidGrammar

MAX_DEPTH: Final = 64
MAX_NODES: Final = 5000
MAX_TEXT: Final = 1 << 18
REFUSED: Final = ("not", "if", "patternProperties", "dependentSchemas", "dependentRequired", "contains")

BASE: Final = r"""
ws ::= | " " | "\n" [ \t]{0,20}
char ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" hex{4})
hex ::= [0-9a-fA-F]
string ::= "\"" char* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,15})
number ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?
boolean ::= "true" | "false"
null ::= "null"
value ::= object | array | string | number | boolean | null
object ::= "{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value)*)? ws "}"
array ::= "[" ws (value (ws "," ws value)*)? ws "]"
date ::= [0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])
time ::= ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{3})? zone
zone ::= "Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]
uuid ::= hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}
"""
SIMPLE: Final = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
FORMATS: Final = {
    "date": '"\\"" date "\\""',
    "time": '"\\"" time "\\""',
    "date-time": '"\\"" date "T" time "\\""',
    "uuid": '"\\"" uuid "\\""',
}


def to_gbnf(text: str) -> str:
    """GBNF whose rule `root` is JSON that matches the schema `text`. Raises InvalidGrammar."""
    if len(text) > MAX_TEXT:
        raise _refuse(f"it is larger than {MAX_TEXT >> 10} KiB")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refuse("it is not valid JSON") from error
    return _Converter(schema).grammar()


def literal(text: str) -> str:
    """`text` as a GBNF string."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def _refuse(what: str) -> InvalidGrammar:
    return InvalidGrammar(f"The JSON schema cannot be turned into a grammar: {what}.", param="schema")


class _Converter:
    """One schema on its way; every method answers an expression that fits anywhere in a rule."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}
        self._nodes = 0
        self._size = 0

    def grammar(self) -> str:
        root = f"root ::= {self._visit(self._schema, 0)}"
        rules = [f"{name} ::= {body}" for name, body in self._rules.items()]
        return "\n".join([root, *rules]) + BASE

    def _rule(self, body: str) -> str:
        name = self._name()
        self._set(name, body)
        return name

    def _name(self) -> str:
        name = f"r{len(self._rules)}"
        self._rules[name] = ""
        return name

    def _set(self, name: str, body: str) -> None:
        self._rules[name] = body
        self._size += len(body)
        if self._size > MAX_TEXT:
            raise _refuse("its grammar would be too large")

    def _visit(self, schema: Any, depth: int) -> str:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise _refuse("it is nested too deeply or too large")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise _refuse("a part of it is neither an object nor true")
        for keyword in REFUSED:
            if keyword in schema:
                raise _refuse(f'"{keyword}" cannot be enforced')
        return self._node(schema, depth)

    def _node(self, schema: Mapping[str, Any], depth: int) -> str:
        if "$ref" in schema:
            return self._reference(schema["$ref"], depth)
        if "const" in schema:
            return _constant(schema["const"])
        if "enum" in schema:
            values = _listed(schema, "enum")
            return self._rule(" | ".join(_constant(value) for value in values))
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._any_of(schema, keyword, depth)
        if "allOf" in schema:
            return self._visit(self._merged(schema, depth), depth + 1)
        return self._typed(schema, depth)

    def _any_of(self, schema: Mapping[str, Any], keyword: str, depth: int) -> str:
        rest = {key: value for key, value in schema.items() if key != keyword}
        if "properties" in rest or "type" in rest:
            options: list[Any] = [{"allOf": [rest, option]} for option in _listed(schema, keyword)]
        else:
            options = _listed(schema, keyword)
        return self._rule(" | ".join(self._visit(option, depth + 1) for option in options))

    def _typed(self, schema: Mapping[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            if not kind:
                raise _refuse('"type" is empty')
            return self._rule(" | ".join(self._visit({**schema, "type": each}, depth + 1) for each in kind))
        if kind == "object" or (kind is None and {"properties", "additionalProperties"} & schema.keys()):
            return self._object(schema, depth)
        if kind == "array" or (kind is None and {"items", "prefixItems"} & schema.keys()):
            return self._array(schema, depth)
        if kind == "string" or (kind is None and {"pattern", "minLength", "maxLength"} & schema.keys()):
            return self._string(schema)
        if kind is None:
            return "value"
        if not isinstance(kind, str) or kind not in SIMPLE:
            raise _refuse(f'"type" is {str(kind)[:40]!r}')
        return SIMPLE[kind]

    def _reference(self, target: Any, depth: int) -> str:
        if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
            raise _refuse(f'"$ref" {str(target)[:60]!r} does not point into the schema')
        name = self._references.get(target)
        if name is None:
            name = self._references[target] = self._name()
            self._set(name, self._visit(self._resolve(target), depth + 1))
        return name

    def _resolve(self, target: str) -> Any:
        found = self._schema
        for part in target.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise _refuse(f'"$ref" {target[:60]!r} points to nothing')
        return found

    def _merged(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """`allOf` as one schema: properties and required of all parts, other keywords of the last."""
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in _listed(schema, "allOf"):
            seen = 0
            while isinstance(part, dict) and "$ref" in part:
                part = self._resolve(str(part["$ref"]))  # noqa: PLW2901
                seen += 1
                if seen > MAX_DEPTH:
                    raise _refuse('"$ref" runs in a circle')
            if not isinstance(part, dict):
                raise _refuse('"allOf" holds something that is no object')
            flat = self._merged(part, depth + 1) if "allOf" in part and depth < MAX_DEPTH else part
            properties = {**_mapping(merged, "properties"), **_mapping(flat, "properties")}
            required = [*_strings(merged, "required"), *_strings(flat, "required")]
            merged.update(flat)
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = required
        return merged

    # --- objects ---

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        properties = _mapping(schema, "properties")
        required = set(_strings(schema, "required"))
        more = schema.get("additionalProperties", not properties)
        for name in required - properties.keys():
            properties[name] = True if more is False else more
        pairs = [
            (self._rule(f'{_constant(name)} ws ":" ws {self._visit(part, depth + 1)}'), name in required)
            for name, part in properties.items()
        ]
        other = None
        if more is not False:
            other = self._rule(f'string ws ":" ws {self._visit(more, depth + 1)}')
        return self._rule(f'"{{" ws {self._members(pairs, other)} "}}"')

    def _members(self, pairs: Sequence[tuple[str, bool]], other: str | None) -> str:
        """All members and their commas, from the last property to the first.

        `rest` is what follows once there is a member, `start` what follows while there is none.
        """
        rest = self._rule(f'(ws "," ws {other})* ws') if other else "ws"
        start = self._rule(f'({other} (ws "," ws {other})*)? ws') if other else "ws"
        for pair, required in reversed(pairs):
            begun = f"{pair} {rest}"
            start = self._rule(begun if required else f"{begun} | {start}")
            step = f'ws "," ws {pair}'
            rest = self._rule(f"{step} {rest}" if required else f"({step})? {rest}")
        return start

    # --- arrays and strings ---

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        prefix = _listed(schema, "prefixItems") if "prefixItems" in schema else []
        items = schema.get("items", not prefix)
        least, most = _bounds(schema, "minItems", "maxItems")
        fixed = [self._visit(part, depth + 1) for part in prefix]
        if fixed:
            tail = "" if items is False else f'(ws "," ws {self._visit(items, depth + 1)})*'
            return self._rule(f'"[" ws {_COMMA.join(fixed)} {tail} ws "]"')
        if items is False or most == 0:
            return self._rule('"[" ws "]"')
        item = self._visit(items, depth + 1)
        repeat = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        inner = f'{item} (ws "," ws {item}){repeat}'
        return self._rule(f'"[" ws {inner} ws "]"' if least else f'"[" ws ({inner})? ws "]"')

    def _string(self, schema: Mapping[str, Any]) -> str:
        if "pattern" in schema:
            if not isinstance(schema["pattern"], str):
                raise _refuse('"pattern" is no string')
            return self._rule(f'"\\"" {patterns.to_gbnf(schema["pattern"])} "\\""')
        if schema.get("format") in FORMATS:
            return self._rule(FORMATS[schema["format"]])
        least, most = _bounds(schema, "minLength", "maxLength")
        if not least and most is None:
            return "string"
        return self._rule(f'"\\"" char{{{least},{"" if most is None else most}}} "\\""')


_COMMA: Final = ' ws "," ws '


def _constant(value: Any) -> str:
    return literal(json.dumps(value, ensure_ascii=False))


def _listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    value = schema[keyword]
    if not isinstance(value, list) or not value:
        raise _refuse(f'"{keyword}" is not a list with something in it')
    return value


def _mapping(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    value = schema.get(keyword, {})
    if not isinstance(value, dict):
        raise _refuse(f'"{keyword}" is no object')
    return dict(value)


def _strings(schema: Mapping[str, Any], keyword: str) -> list[str]:
    value = schema.get(keyword, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _refuse(f'"{keyword}" is no list of names')
    return value


def _bounds(schema: Mapping[str, Any], low: str, high: str) -> tuple[int, int | None]:
    least, most = schema.get(low, 0), schema.get(high)
    for value, keyword in ((least, low), (0 if most is None else most, high)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _refuse(f'"{keyword}" is no whole number')
    if most is not None and most < least:
        raise _refuse(f'"{high}" is less than "{low}"')
    return least, most
