"""From the events and lines that the node streams to what they tell. Pure."""

import msgspec

from app.client.errors import ClientError, error_in
from app.client.types import Delta, Finished, Reasoning, StoredModel, Text, ToolCallPart, Usage

END = b"[DONE]"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    index: int
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] = []


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(msgspec.Struct):
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0


class _Chunk(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None
    timings: _Timings | None = None


class _ImportLine(msgspec.Struct):
    fraction: float | None = None
    model: StoredModel | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_import = msgspec.json.Decoder(_ImportLine).decode


def deltas(data: bytes) -> list[Delta]:
    """What one event tells. Raises ClientError for an error event and for what is no chunk."""
    try:
        chunk = _decode(data)
    except msgspec.DecodeError:
        raise error_in(data) or ClientError(
            "bad_answer", "The node sent an event that is no chunk."
        ) from None
    found: list[Delta] = []
    for choice in chunk.choices:
        found.extend(_of_choice(choice))
    if chunk.usage is not None:
        found.append(_usage(chunk, chunk.usage))
    return found


def import_step(line: bytes) -> float | StoredModel:
    """How far an import is, or the model at its end. Raises ClientError as `deltas` does."""
    unknown = ClientError("bad_answer", "The node sent a line that tells nothing of the import.")
    try:
        step = _decode_import(line)
    except msgspec.DecodeError:
        raise unknown from None
    if step.model is not None:
        return step.model
    if step.fraction is None:
        raise error_in(line) or unknown
    return step.fraction


def _of_choice(choice: _Choice) -> list[Delta]:
    found: list[Delta] = []
    if choice.delta.reasoning_content:
        found.append(Reasoning(choice.delta.reasoning_content, choice.index))
    if text := choice.delta.content or choice.text:
        found.append(Text(text, choice.index))
    for call in choice.delta.tool_calls:
        function = call.function
        found.append(ToolCallPart(call.index, function.arguments, call.id, function.name, choice.index))
    if choice.finish_reason is not None:
        found.append(Finished(choice.finish_reason, choice.index))
    return found


def _usage(chunk: _Chunk, usage: _Usage) -> Usage:
    timings = chunk.timings or _Timings()
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0,
        prefill_seconds=timings.prompt_ms / 1000,
        decode_seconds=timings.predicted_ms / 1000,
        model=chunk.model,
    )
