"""From a conversation to the text that a model continues."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from app.core.engine.chat.conversation import (
    Abilities,
    TemplateRefused,
    abilities,
    adapt,
    merge_turns,
    plain,
    template_tools,
)
from app.core.engine.chat.families import FAMILIES, THOUGHTS, detect_family, opened_thoughts, turn_ends
from app.core.engine.chat.grammar import ToolGrammar
from app.core.kernel.errors import InvalidRequest, Unsupported
from app.core.kernel.generation import Message, Tool, ToolChoice

CHATML: Final = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
MARKER_PART: Final = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")
"""Longer markers consist of several tokens, such as <|channel|>analysis<|message|>."""
RESERVED: Final = frozenset(
    {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "strftime_now"}
)


class PreparedPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what the template wrote, with the BOS token's text where the template puts it.

    `stops` end the answer where the model writes them as plain text. `preserved` are markers that must
    stay visible in the answer even where the vocabulary has them as control tokens, because the parser
    of `family` looks for them.
    """

    text: str
    family: str
    stops: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()
    tool_grammar: ToolGrammar | None = None


def prepare(
    template: str,
    *,
    bos_token: str,
    eos_token: str,
    messages: Sequence[Message],
    tools: Sequence[Tool] = (),
    tool_choice: ToolChoice = ToolChoice(),  # noqa: B008 - frozen
    parallel_tool_calls: bool = True,
    options: Mapping[str, bool | int | float | str] | None = None,
    now: Callable[[], datetime] = datetime.now,
) -> PreparedPrompt:
    """Renders the conversation with `template`, or with ChatML where it is "".

    Raises InvalidRequest (TemplateRefused) where the template does not accept the conversation,
    Unsupported where the template cannot be used at all.
    """
    source = template or CHATML
    offered = () if tool_choice.mode == "none" else tuple(tools)
    forced = _forced(offered, tool_choice)
    can = _abilities(source, bos_token, eos_token)
    extra = {key: value for key, value in (options or {}).items() if key not in RESERVED}
    variables = {
        **extra,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "add_generation_prompt": True,
        "strftime_now": lambda form: now().strftime(form),
    }
    text = _render(source, messages, offered, can, variables)
    family = detect_family(source)
    return PreparedPrompt(
        text=text,
        family=family,
        stops=turn_ends(source),
        preserved=_preserved(family, bool(offered)),
        tool_grammar=_grammar(family, forced, parallel_tool_calls, text, source) if forced else None,
    )


def _render(
    source: str,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    can: Abilities,
    variables: Mapping[str, Any],
) -> str:
    """The conversation as it is, else with neighbouring turns merged, else with tools as plain text. Raises
    the error of the first attempt if the template accepts none of them.
    """
    turns = adapt(messages, tools, can)
    shown = template_tools(tools) if tools and can.tools else None
    attempts: list[tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = [
        (turns, shown),
        (merge_turns(turns), shown),
        (plain(messages, tools, can), None),
    ]
    refusal: InvalidRequest | None = None
    for attempt, offered in attempts:
        try:
            return _with_tools(source, {**variables, "messages": attempt}, offered)
        except Unsupported:
            raise
        except InvalidRequest as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _with_tools(source: str, variables: Mapping[str, Any], tools: list[dict[str, Any]] | None) -> str:
    """Without tools the variable is None, as in transformers; some templates can only take a list."""
    from app.core.engine.chat.template import render  # noqa: PLC0415 - the node needs no Jinja2

    try:
        return render(source, {**variables, "tools": tools})
    except TemplateRefused:
        raise
    except InvalidRequest:
        if tools is not None:
            raise
        return render(source, {**variables, "tools": []})


@lru_cache(maxsize=8)
def _abilities(source: str, bos_token: str, eos_token: str) -> Abilities:
    def attempt(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        variables = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "add_generation_prompt": False,
            "strftime_now": lambda _: "now",
        }
        return _with_tools(source, {**variables, "messages": messages}, tools)

    return abilities(source, attempt)


def _forced(tools: Sequence[Tool], choice: ToolChoice) -> tuple[Tool, ...]:
    if choice.mode == "required":
        if not tools:
            raise InvalidRequest(
                "tool_choice asks for a tool call, but there are no tools.", param="tool_choice"
            )
        return tuple(tools)
    if choice.mode == "named":
        chosen = tuple(tool for tool in tools if tool.name == choice.name)
        if not chosen:
            raise InvalidRequest(
                f"tool_choice names {choice.name!r}, which is not among the tools.", param="tool_choice"
            )
        return chosen[:1]
    return ()


def _preserved(family: str, tools: bool) -> tuple[str, ...]:
    known = FAMILIES[family]
    markers = [marker for thoughts in THOUGHTS for marker in (thoughts.opener, thoughts.closer)]
    markers += known.noise
    if tools:
        for tag in known.tags:
            markers += [tag.opener, tag.closer or "", known.name_suffix]
    parts = [part for marker in markers for part in MARKER_PART.findall(marker)]
    return tuple(dict.fromkeys(parts))


def _grammar(family: str, tools: tuple[Tool, ...], parallel: bool, text: str, source: str) -> ToolGrammar:
    opened = opened_thoughts(text[-64:])
    known = next((each for each in THOUGHTS if each.opener in source and each.closer in source), None)
    thoughts = ("", opened.closer) if opened else (known.opener, known.closer) if known else None
    return ToolGrammar(family=family, tools=tools, parallel=parallel, thoughts=thoughts)
