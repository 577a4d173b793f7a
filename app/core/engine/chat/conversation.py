"""Brings a conversation into the form that a particular chat template can take.

What a template can do is found by trying it on small conversations, not by its name.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from app.core.kernel.errors import InvalidRequest, SwarmError
from app.core.kernel.generation import Message, Tool, ToolCall

NEEDLE: Final = "n33dle"
KEY: Final = "k3y"
Render = Callable[[list[dict[str, Any]], list[dict[str, Any]] | None], str]

TOOLS_ADVICE: Final = """\
You can call these functions, each described by a JSON schema:
{tools}

To call a function, answer with nothing but one JSON object per call:
{{"name": <function name>, "arguments": <object with its arguments>}}
Only call a function where it helps; otherwise answer in plain text."""


class TemplateRefused(InvalidRequest):
    """The template itself raised an exception about the conversation."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a template can show. `arguments_as_dict`: of tool calls, else as JSON text.

    `null_content`: a message with tool calls must have no content for the calls to show.
    `parts`: content must be a list of parts.
    """

    system: bool
    tools: bool
    tool_calls: bool
    tool_results: bool
    arguments_as_dict: bool
    null_content: bool
    parts: bool
    short_ids: bool


def abilities(template: str, render: Render) -> Abilities:
    """Tries `template` through `render`, which raises SwarmError where the template fails."""

    def shows(
        messages: list[dict[str, Any]],
        *needles: str,
        tools: list[dict[str, Any]] | None = None,
        without: str | None = None,
    ) -> bool:
        try:
            text = render(messages, tools)
        except SwarmError:
            return False
        return all(needle in text for needle in needles) and (without is None or without not in text)

    def user(content: Any) -> dict[str, Any]:
        return {"role": "user", "content": content}

    parts = not shows([user(NEEDLE)], NEEDLE) and shows([user(_content(NEEDLE, True))], NEEDLE)
    content = _content(NEEDLE, parts)
    other = user(_content("hello", parts))
    field = {"type": "string", "description": KEY}
    schema = {"type": "object", "properties": {KEY: field}, "required": [KEY]}
    tool = {"type": "function", "function": {"name": NEEDLE, "description": KEY, "parameters": schema}}

    def call(arguments: Any, text: str | None) -> list[dict[str, Any]]:
        function = {"name": "f", "arguments": arguments}
        calls = [{"id": "abcdefghi", "type": "function", "function": function}]
        return [other, {"role": "assistant", "content": text, "tool_calls": calls}]

    forms: dict[str, Any] = {"dict": {KEY: NEEDLE}, "text": json.dumps({KEY: NEEDLE})}
    shown = {
        (form, text): shows(call(arguments, text), NEEDLE, KEY, without=f"'{KEY}'")
        for form, arguments in forms.items()
        for text in ("", None)
    }
    with_dict = shown["dict", ""] or shown["dict", None]
    form = "dict" if with_dict else "text"
    result = {"role": "tool", "content": content, "name": "f", "tool_call_id": "abcdefghi"}
    null = not shown[form, ""] and shown[form, None]
    answered = [*call(forms[form], None if null else ""), result]
    return Abilities(
        system=shows([{"role": "system", "content": content}, other], NEEDLE),
        tools=shows([other], NEEDLE, tools=[tool]),
        tool_calls=any(shown.values()),
        tool_results=shows(answered, NEEDLE),
        arguments_as_dict=with_dict,
        null_content=null,
        parts=parts,
        short_ids="length == 9" in template or "length != 9" in template,
    )


def template_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools in OpenAI's form, which templates expect."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": _parsed(tool.parameters),
            },
        }
        for tool in tools
    ]


def adapt(messages: Sequence[Message], tools: Sequence[Tool], can: Abilities) -> list[dict[str, Any]]:
    """The conversation as dictionaries for a template that `can` do that much; the rest becomes text."""
    turns = _with_names(messages)
    if tools and not can.tools:
        turns = _with_system(turns, advice(tools))
    if not can.tool_calls or not can.tool_results:
        turns = [_plain_turn(turn) for turn in turns]
    if not can.system:
        turns = _system_into_user(turns)
    return [_turn(turn, can) for turn in turns]


def plain(messages: Sequence[Message], tools: Sequence[Tool], can: Abilities) -> list[dict[str, Any]]:
    """As `adapt`, but with nothing of tools left to the template."""
    nothing = replace(can, tools=False, tool_calls=False, tool_results=False)
    return merge_turns(adapt(messages, tools, nothing))


def merge_turns(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring turns of one role made one, for templates that insist on strict alternation."""
    merged: list[dict[str, Any]] = []
    for turn in turns:
        last = merged[-1] if merged else None
        plain = last is not None and "tool_calls" not in turn and "tool_calls" not in last
        if last is not None and plain and last["role"] == turn["role"] and turn["role"] != "tool":
            texts = [text for text in (_text(last["content"]), _text(turn["content"])) if text]
            merged[-1] = {**last, "content": _content("\n\n".join(texts), isinstance(turn["content"], list))}
        else:
            merged.append(turn)
    return merged


def advice(tools: Sequence[Tool]) -> str:
    """Instructions for a model whose template knows nothing of tools."""
    described = [
        {"name": tool.name, "description": tool.description, "parameters": _parsed(tool.parameters)}
        for tool in tools
    ]
    return TOOLS_ADVICE.format(tools="\n".join(json.dumps(each, ensure_ascii=False) for each in described))


def _with_names(messages: Sequence[Message]) -> list[Message]:
    """Results named after their calls, which clients leave out and some templates want."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return [
        msgspec.structs.replace(message, name=names[message.tool_call_id])
        if message.role == "tool" and message.name is None and message.tool_call_id in names
        else message
        for message in messages
    ]


def _turn(message: Message, can: Abilities) -> dict[str, Any]:
    content: Any = _content(message.content, can.parts)
    turn: dict[str, Any] = {"role": message.role, "content": content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.name is not None:
        turn["name"] = message.name
    if message.tool_call_id is not None:
        turn["tool_call_id"] = _call_id(message.tool_call_id, can)
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, can) for call in message.tool_calls]
        if can.null_content and not message.content:
            turn["content"] = None
    return turn


def _call(call: ToolCall, can: Abilities) -> dict[str, Any]:
    arguments = _parsed(call.arguments) if can.arguments_as_dict else call.arguments
    function = {"name": call.name, "arguments": arguments}
    return {"id": _call_id(call.id, can), "type": "function", "function": function}


def _call_id(name: str, can: Abilities) -> str:
    """Mistral's templates refuse ids that are not nine letters or digits."""
    if not can.short_ids or (len(name) == 9 and name.isalnum()):
        return name
    return hashlib.blake2b(name.encode(), digest_size=5).hexdigest()[:9]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _content(text: str, parts: bool) -> Any:
    return [{"type": "text", "text": text}] if parts else text


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return content or ""


def _with_system(turns: list[Message], text: str) -> list[Message]:
    if turns and turns[0].role == "system":
        joined = f"{turns[0].content}\n\n{text}" if turns[0].content else text
        return [Message(role="system", content=joined), *turns[1:]]
    return [Message(role="system", content=text), *turns]


def _system_into_user(turns: list[Message]) -> list[Message]:
    folded: list[Message] = []
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            waiting.append(turn.content)
        elif turn.role == "user" and waiting:
            folded.append(Message(role="user", content="\n\n".join([*waiting, turn.content]), name=turn.name))
            waiting = []
        else:
            folded.append(turn)
    if waiting:
        folded.append(Message(role="user", content="\n\n".join(waiting)))
    return folded


def _plain_turn(turn: Message) -> Message:
    """Calls and their results as ordinary text."""
    if turn.role == "tool":
        called = f" of {turn.name}" if turn.name else ""
        return Message(role="user", content=f"Result{called}:\n{turn.content}")
    if not turn.tool_calls:
        return turn
    calls = [
        json.dumps({"name": call.name, "arguments": _parsed(call.arguments)}, ensure_ascii=False)
        for call in turn.tool_calls
    ]
    return Message(role=turn.role, content="\n".join([*([turn.content] if turn.content else []), *calls]))
