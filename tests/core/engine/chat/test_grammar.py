import json
import re

import pytest
from llama_cpp.llama_grammar import json_schema_to_gbnf

from app.core.engine.chat import ToolGrammar, grammar
from app.core.engine.chat.families import FAMILIES
from app.core.engine.chat.grammar import literal, rename
from app.core.kernel.errors import InvalidGrammar
from app.core.kernel.generation import Tool
from tests.support.engine_chat import ADD, TOOLS

REFERRING = Tool(
    name="paint",
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"colour": {"$ref": "#/$defs/Colour"}},
            "required": ["colour"],
            "$defs": {"Colour": {"enum": ["red", 'the "root" ::= {0,3} [x] # y']}},
        }
    ),
)


def made(family: str = "hermes", *tools: Tool, parallel: bool = True, **more: tuple[str, str]) -> str:
    description = ToolGrammar(family=family, tools=tools or TOOLS, parallel=parallel, **more)
    return grammar(description, json_schema_to_gbnf=json_schema_to_gbnf)


def rules(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9-]+) ::= (.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_rule_that_is_used_is_there(family: str) -> None:
    text = made(family, *TOOLS, REFERRING, thoughts=("", "</think>"))
    known = rules(text)
    bare = re.sub(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[0-9,]*\}', "", text)
    assert set(re.findall(r"[A-Za-z][A-Za-z0-9-]*", bare)) <= known.keys()
    assert known["call"] == "tool-0 | tool-1 | tool-2"


def test_calls_are_written_in_the_familys_format() -> None:
    assert rules(made("hermes", ADD))["tool-0"] == (
        r'"<tool_call>\n{\"name\": \"add\", \"arguments\": " a0-root "}\n</tool_call>"'
    )
    assert rules(made("llama3", ADD))["tool-0"] == r'"{\"name\": \"add\", \"parameters\": " a0-root "}"'
    assert rules(made("mistral", ADD))["root"] == r'"[TOOL_CALLS] [" call (", " call){0,15} "]"'
    assert rules(made("mistral-named", ADD))["tool-0"] == '"[TOOL_CALLS]add[ARGS]" a0-root'


def test_without_parallel_there_is_one_call() -> None:
    assert rules(made(parallel=False))["root"] == "call"


def test_thoughts_may_or_must_come_first() -> None:
    assert rules(made(thoughts=("", "</think>")))["root"].startswith("thoughts call")
    assert rules(made(thoughts=("<think>", "</think>")))["thoughts"].endswith(")?")


def test_renaming_leaves_strings_and_classes_alone() -> None:
    assert rename('root ::= "root" [root] # root\n  x{2,3}', "p-") == (
        'p-root ::= "root" [root] # root\n  p-x{2,3}'
    )
    assert literal('a"b\\c\nd') == r'"a\"b\\c\nd"'


@pytest.mark.parametrize("parameters", ["[1]", "not json", '{"type": 7}', '{"$ref": "#/nowhere"}', "3"])
def test_a_schema_that_cannot_be_enforced_names_its_tool(parameters: str) -> None:
    with pytest.raises(InvalidGrammar, match="'bad'"):
        made("hermes", Tool(name="bad", parameters=parameters))


def test_too_many_tools_are_refused() -> None:
    with pytest.raises(InvalidGrammar, match="1 to 128"):
        made("hermes", *[Tool(name=f"t{index}") for index in range(129)])
