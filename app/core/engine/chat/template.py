"""Runs a model's own chat template: Jinja2 as Hugging Face's transformers set it up, in a sandbox.

Templates come out of foreign files. The sandbox keeps them from Python; sizes are bounded here; one
that never ends is stopped by whoever watches the process that renders it.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.engine.chat.conversation import TemplateRefused
from app.core.kernel.errors import InvalidRequest, Unsupported

MAX_TEMPLATE: Final = 1 << 20
MAX_OUTPUT: Final = 16 << 20
MAX_PRODUCT: Final = 1 << 20


class GenerationBlocks(Extension):
    """`{% generation %}...{% endgeneration %}` marks what to train on; for inference it is its contents."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Adds bounds to the operators that make much out of little."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            size = _size(left) * _size(right)
            if operator == "**" or size > MAX_PRODUCT:
                raise SecurityError(f"the template's use of {operator} is not allowed")
        return super().call_binop(context, operator, left, right)


def render(template: str, variables: Mapping[str, Any]) -> str:
    """The template's text for `variables`.

    Raises TemplateRefused with the template's own words where it calls `raise_exception`, Unsupported
    where it cannot be compiled, InvalidRequest where it fails or writes too much.
    """
    compiled = compile_template(template)
    parts: list[str] = []
    size = 0
    try:
        for part in compiled.generate(variables):
            size += _bounded(part, size)
            parts.append(part)
    except InvalidRequest:
        raise
    except Exception as error:
        raise InvalidRequest(f"The model's chat template failed: {_shortened(error)}.") from error
    return "".join(parts)


@lru_cache(maxsize=8)
def compile_template(template: str) -> jinja2.Template:
    """Compiled once per text. Raises Unsupported."""
    if len(template) > MAX_TEMPLATE:
        raise Unsupported("The model's chat template is larger than 1 MiB.")
    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(template)
    except (jinja2.TemplateError, RecursionError, MemoryError, OverflowError) as error:
        raise Unsupported(
            f"The model's chat template cannot be compiled: {_shortened(error)}.", param="messages"
        ) from error


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the HTML escapes of Jinja's own filter, as transformers replaces it."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _bounded(part: str, before: int) -> int:
    if before + len(part) > MAX_OUTPUT:
        raise InvalidRequest("The model's chat template wrote more text than is allowed.")
    return len(part)


def _refuse(message: object) -> None:
    raise TemplateRefused(
        f"The model's chat template refused the conversation: {_shortened(message)}", param="messages"
    )


def _shortened(message: object) -> str:
    return str(message)[:500].rstrip(".")


def _size(value: Any) -> int:
    if isinstance(value, str | bytes | list | tuple):
        return max(1, len(value))
    return max(1, abs(value)) if isinstance(value, int) else 1
