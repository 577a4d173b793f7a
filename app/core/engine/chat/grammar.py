"""What an answer that must call tools may look like, in the wire format of the model's family (GBNF)."""

import json
import re
from collections.abc import Callable
from typing import Final

import msgspec

from app.core.engine.chat.families import FAMILIES, Family
from app.core.kernel.errors import InvalidGrammar
from app.core.kernel.generation import Tool

MAX_TOOLS: Final = 128
MAX_CALLS: Final = 16
MAX_SCHEMA: Final = 1 << 20
GBNF_TOKEN: Final = re.compile(
    r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[0-9, ]*\}|#[^\n]*|(?P<rule>[A-Za-z][A-Za-z0-9-]*)'
)


class ToolGrammar(msgspec.Struct, frozen=True, kw_only=True):
    """The answer must be one call, or with `parallel` one to 16 calls, of `tools`.

    `thoughts` is (opener, closer) of a block that may come first; an opener of "" means that the prompt
    has opened it already, so that it must be closed before the calls.
    """

    family: str
    tools: tuple[Tool, ...]
    parallel: bool
    thoughts: tuple[str, str] | None = None


def grammar(description: ToolGrammar, *, json_schema_to_gbnf: Callable[[str], str]) -> str:
    """GBNF text whose rule `root` is the whole answer.

    `json_schema_to_gbnf` takes a JSON schema as text and gives GBNF with the rule `root`. Raises
    InvalidGrammar for schemas that cannot be turned into one.
    """
    if not 0 < len(description.tools) <= MAX_TOOLS:
        raise InvalidGrammar(f"A forced tool call needs 1 to {MAX_TOOLS} tools.", param="tools")
    if sum(len(tool.parameters) for tool in description.tools) > MAX_SCHEMA:
        raise InvalidGrammar("The tools' schemas are larger than 1 MiB together.", param="tools")
    family = FAMILIES.get(description.family, FAMILIES["generic"])
    rules = [_root(family, description)]
    rules.append("call ::= " + " | ".join(f"tool-{index}" for index in range(len(description.tools))))
    for index, tool in enumerate(description.tools):
        rules.append(f"tool-{index} ::= {_call(family, tool, f'a{index}-root')}")
        rules.append(_arguments(tool, f"a{index}-", json_schema_to_gbnf))
    if description.thoughts:
        rules.append(_thoughts(*description.thoughts))
    return "\n".join(rules) + "\n"


def _root(family: Family, description: ToolGrammar) -> str:
    calls = "call"
    if description.parallel:
        rest = f"({literal(family.separator)} call)" if family.separator else "call"
        calls = f"call {rest}{{0,{MAX_CALLS - 1}}}"
    parts = ["thoughts"] if description.thoughts else []
    parts += [literal(family.prefix)] if family.prefix else []
    parts += [calls]
    parts += [literal(family.suffix)] if family.suffix else []
    return "root ::= " + " ".join(parts)


def _call(family: Family, tool: Tool, arguments: str) -> str:
    if family.named:
        opening = literal(f"{family.call_prefix}{tool.name}{family.name_suffix}")
        closing = f" {literal(family.call_suffix)}" if family.call_suffix else ""
        return f"{opening} {arguments}{closing}"
    name = json.dumps(tool.name, ensure_ascii=False)
    before = f'{family.call_prefix}{{"name": {name}, "{family.arguments_key}": '
    return f"{literal(before)} {arguments} {literal('}' + family.call_suffix)}"


def _arguments(tool: Tool, prefix: str, json_schema_to_gbnf: Callable[[str], str]) -> str:
    try:
        text = json_schema_to_gbnf(object_schema(tool.parameters))
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError) as error:
        raise InvalidGrammar(
            f"The parameters of tool {tool.name!r} are not a JSON schema that can be enforced: "
            f"{str(error)[:200]}.",
            param="tools",
        ) from error
    return rename(text.strip(), prefix)


def object_schema(parameters: str) -> str:
    """`parameters` as the schema of an object, which arguments always are, even if it does not say so."""
    schema = json.loads(parameters)
    if not isinstance(schema, dict):
        raise TypeError("it is not a JSON object")
    if "type" not in schema and not {"anyOf", "oneOf", "allOf", "$ref", "enum", "const"} & schema.keys():
        schema = {"type": "object", "properties": {}, **schema}
    return json.dumps(schema)


def rename(gbnf: str, prefix: str) -> str:
    """`gbnf` with `prefix` before every rule's name, so that several grammars fit into one."""

    def renamed(match: re.Match[str]) -> str:
        return prefix + match.group() if match.group("rule") else match.group()

    return GBNF_TOKEN.sub(renamed, gbnf)


def literal(text: str) -> str:
    """`text` as a GBNF string."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


def _thoughts(opener: str, closer: str) -> str:
    """Any text up to and with `closer`: the automaton that searches for it (Knuth, Morris and Pratt 1977),
    one rule per number of its characters that were just matched.
    """
    begin = f"({literal(opener)} thought-0)?" if opener else "thought-0"
    rules = [f"thoughts ::= {begin}", f"thought-{len(closer)} ::= [ \\n]*"]
    for matched in range(len(closer)):
        following = {char: _matched(closer, closer[:matched] + char) for char in closer}
        ways = [f"{literal(char)} thought-{count}" for char, count in following.items() if count]
        others = "".join(_in_class(char) for char, count in following.items() if count)
        rules.append(f"thought-{matched} ::= {' | '.join(ways)} | [^{others}] thought-0")
    return "\n".join(rules)


def _matched(closer: str, seen: str) -> int:
    """The length of the longest beginning of `closer` that `seen` ends in."""
    return next(length for length in range(len(seen), -1, -1) if seen.endswith(closer[:length]))


def _in_class(char: str) -> str:
    return "\\" + char if char in "[]\\" else char
