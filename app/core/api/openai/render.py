"""From the node's chunks to chat completions, whole and streamed. Pure.

`ChatStream` runs once per token: only the text of an event is encoded for each.
"""

from typing import Any

from app.core.api.openai.envelope import Envelope, encode
from app.core.api.openai.logprobs import chat_logprobs
from app.core.api.openai.usage import NO_USAGE, timing_fields, usage_fields
from app.core.api.problems import Problem
from app.core.kernel.generation import (
    Chunk,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)


def finish_reason(reason: FinishReason) -> str:
    """OpenAI has no word for a choice that was cancelled."""
    return "stop" if reason == "cancelled" else reason


class _Choice:
    """What one choice has said so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.logprobs: list[TokenLogprob] = []
        self.reason: FinishReason = "stop"

    def add_call(self, delta: ToolCallDelta) -> None:
        call = self.calls.setdefault(delta.call, {"id": "", "name": "", "arguments": []})
        call["id"] = delta.id or call["id"]
        call["name"] = delta.name or call["name"]
        call["arguments"].append(delta.arguments)

    def message(self) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["content"] = text or None
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
                }
                for _, call in sorted(self.calls.items())
            ]
        return message


class ChatAnswer:
    """Gathers the chunks of an answer into one chat.completion object."""

    def __init__(self, *, answer_id: str, created: int, model: str, n: int, logprobs: bool) -> None:
        self._id = answer_id
        self._created = created
        self._model = model
        self._choices = [_Choice() for _ in range(n)]
        self._logprobs = logprobs
        self._usage = NO_USAGE

    def feed(self, chunk: Chunk) -> None:
        match chunk:
            case TextDelta():
                choice = self._choices[chunk.choice]
                choice.text.append(chunk.text)
                choice.logprobs.extend(chunk.logprobs)
            case ReasoningDelta():
                self._choices[chunk.choice].reasoning.append(chunk.text)
            case ToolCallDelta():
                self._choices[chunk.choice].add_call(chunk)
            case Finished():
                self._choices[chunk.choice].reason = chunk.reason
            case Usage():
                self._usage = chunk
            case Started():
                self._model = chunk.model

    def body(self) -> bytes:
        return encode(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "choices": [self._choice(index, choice) for index, choice in enumerate(self._choices)],
                "usage": usage_fields(self._usage),
                "timings": timing_fields(self._usage),
                "system_fingerprint": None,
            }
        )

    def _choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        logprobs = {"content": chat_logprobs(choice.logprobs), "refusal": None} if self._logprobs else None
        return {
            "index": index,
            "message": choice.message(),
            "logprobs": logprobs,
            "finish_reason": finish_reason(choice.reason),
        }


class ChatStream:
    """Turns the chunks of an answer into chat.completion.chunk events, one per chunk."""

    def __init__(self, *, envelope: Envelope, n: int) -> None:
        self._envelope = envelope
        self._n = n
        self._text: list[tuple[bytes, bytes]] = []

    def feed(self, chunk: Chunk) -> bytes:
        if type(chunk) is TextDelta:
            if not chunk.logprobs:
                before, after = self._text[chunk.choice]
                return before + encode(chunk.text) + after
            return self._event(chunk.choice, {"content": chunk.text}, logprobs=chunk.logprobs)
        return self._rare(chunk)

    def end(self) -> bytes:
        return self._envelope.end()

    def fail(self, problem: Problem) -> bytes:
        return self._envelope.fail(problem)

    def _rare(self, chunk: Chunk) -> bytes:
        match chunk:
            case Started():
                return self._start(chunk.model)
            case ReasoningDelta():
                return self._event(chunk.choice, {"reasoning_content": chunk.text})
            case ToolCallDelta():
                return self._event(chunk.choice, {"tool_calls": [_call(chunk)]})
            case Finished():
                return self._event(chunk.choice, {}, reason=finish_reason(chunk.reason))
            case Usage():
                self._envelope.keep(chunk)
        return b""

    def _start(self, model: str) -> bytes:
        self._envelope.start(model)
        self._text = [
            self._envelope.around(
                b'{"index":%d,"delta":{"content":' % choice, b'},"logprobs":null,"finish_reason":null}'
            )
            for choice in range(self._n)
        ]
        first = {"role": "assistant", "content": ""}
        return b"".join(self._event(choice, first) for choice in range(self._n))

    def _event(
        self,
        choice: int,
        delta: dict[str, Any],
        *,
        logprobs: tuple[TokenLogprob, ...] = (),
        reason: str | None = None,
    ) -> bytes:
        shown = {"content": chat_logprobs(logprobs), "refusal": None} if logprobs else None
        return self._envelope.event(
            {"index": choice, "delta": delta, "logprobs": shown, "finish_reason": reason}
        )


def _call(delta: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, str] = {"arguments": delta.arguments}
    call: dict[str, Any] = {"index": delta.call, "function": function}
    if delta.name is not None:
        function["name"] = delta.name
    if delta.id is not None:
        call |= {"id": delta.id, "type": "function"}
    return call
