"""From what a request asks for (GBNF, a JSON schema, any JSON object) to GBNF that llama.cpp compiles.

What comes out has been measured by `gbnf.check`, so that llama.cpp survives it.
"""

from typing import Final

from app.core.engine.worker import gbnf, schema
from app.core.kernel.generation import Gbnf, Grammar, JsonSchema

JSON_OBJECT: Final = "root ::= object" + schema.BASE


def to_gbnf(grammar: Grammar) -> str:
    """GBNF text with the rule `root`. Raises InvalidGrammar."""
    if isinstance(grammar, Gbnf):
        text = grammar.text
    elif isinstance(grammar, JsonSchema):
        text = schema.to_gbnf(grammar.schema)
    else:
        text = JSON_OBJECT
    gbnf.check(text)
    return text
