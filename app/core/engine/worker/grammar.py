"""From what a request asks for (GBNF, a JSON schema, any JSON object) to GBNF that llama.cpp compiles.

llama.cpp's own parser reports most mistakes, but neither its time nor its recursion is bounded, so sizes
are checked before it sees anything.
"""

import json
from typing import Final

from app.core.engine.worker.llama.lib import json_schema_to_gbnf
from app.core.kernel.errors import InvalidGrammar
from app.core.kernel.generation import Gbnf, Grammar, JsonObject, JsonSchema

MAX_GBNF: Final = 1 << 18
MAX_SCHEMA: Final = 1 << 17

JSON_OBJECT: Final = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""


def to_gbnf(grammar: Grammar) -> str:
    """GBNF text with the rule `root`. Raises InvalidGrammar."""
    if isinstance(grammar, Gbnf):
        text = grammar.text
    elif isinstance(grammar, JsonSchema):
        text = schema_to_gbnf(grammar.schema)
    else:
        assert isinstance(grammar, JsonObject)
        text = JSON_OBJECT
    check(text)
    return text


def check(gbnf: str) -> None:
    """Raises InvalidGrammar for text that is too large or that llama.cpp would take for something else."""
    if len(gbnf) > MAX_GBNF:
        raise InvalidGrammar(f"The grammar is larger than {MAX_GBNF >> 10} KiB.", param="grammar")
    if not gbnf.strip() or "\0" in gbnf:
        raise InvalidGrammar("The grammar is empty or contains a null character.", param="grammar")


def schema_to_gbnf(schema: str) -> str:
    """GBNF for JSON that matches `schema`, itself JSON text. Raises InvalidGrammar."""
    if len(schema) > MAX_SCHEMA:
        raise InvalidGrammar(f"The JSON schema is larger than {MAX_SCHEMA >> 10} KiB.", param="schema")
    try:
        json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidGrammar("The schema is not valid JSON.", param="schema") from error
    try:
        return json_schema_to_gbnf(schema)
    except Exception as error:
        raise InvalidGrammar(
            f"The JSON schema cannot be turned into a grammar: {str(error)[:200] or type(error).__name__}.",
            param="schema",
        ) from error
