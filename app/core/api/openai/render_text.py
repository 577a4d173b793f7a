"""From the node's chunks to legacy text completions, whole and streamed. Pure."""

from collections.abc import Sequence
from typing import Any

from app.core.api.openai.envelope import Envelope, encode
from app.core.api.openai.logprobs import LegacyLogprobs
from app.core.api.openai.render import finish_reason
from app.core.api.openai.usage import NO_USAGE, timing_fields, usage_fields
from app.core.api.problems import Problem
from app.core.kernel.generation import (
    Chunk,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    TokenLogprob,
    Usage,
)


class _Choice:
    def __init__(self, echoed: int) -> None:
        self.echoed = echoed
        self.text: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.reason: FinishReason = "stop"


class TextAnswer:
    """Gathers the chunks of an answer into one text_completion object.

    `echoed` has one number for each choice: how many characters of its text are the prompt's.
    """

    def __init__(
        self, *, answer_id: str, created: int, model: str, echoed: Sequence[int], logprobs: bool
    ) -> None:
        self._id = answer_id
        self._created = created
        self._model = model
        self._choices = [_Choice(length) for length in echoed]
        self._logprobs = logprobs
        self._usage = NO_USAGE

    def feed(self, chunk: Chunk) -> None:
        match chunk:
            case TextDelta():
                choice = self._choices[chunk.choice]
                choice.text.append(chunk.text)
                choice.logprobs.extend(chunk.logprobs)
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
                "object": "text_completion",
                "created": self._created,
                "model": self._model,
                "choices": [self._choice(index, choice) for index, choice in enumerate(self._choices)],
                "usage": usage_fields(self._usage),
                "timings": timing_fields(self._usage),
                "system_fingerprint": None,
            }
        )

    def _choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        return {
            "text": "".join(choice.text),
            "index": index,
            "logprobs": LegacyLogprobs(choice.echoed).take(choice.logprobs) if self._logprobs else None,
            "finish_reason": finish_reason(choice.reason),
        }


class TextStream:
    """Turns the chunks of an answer into text_completion events, one per chunk. `echoed` as above."""

    def __init__(self, *, envelope: Envelope, echoed: Sequence[int]) -> None:
        self._envelope = envelope
        self._logprobs = [LegacyLogprobs(length) for length in echoed]
        self._text: list[tuple[bytes, bytes]] = []

    def feed(self, chunk: Chunk) -> bytes:
        if type(chunk) is TextDelta:
            if not chunk.logprobs:
                before, after = self._text[chunk.choice]
                return before + encode(chunk.text) + after
            logprobs = self._logprobs[chunk.choice].take(chunk.logprobs)
            return self._event(chunk.choice, chunk.text, logprobs=logprobs)
        match chunk:
            case Started():
                self._start(chunk.model)
            case Finished():
                return self._event(chunk.choice, "", reason=finish_reason(chunk.reason))
            case Usage():
                self._envelope.keep(chunk)
        return b""

    def end(self) -> bytes:
        return self._envelope.end()

    def fail(self, problem: Problem) -> bytes:
        return self._envelope.fail(problem)

    def _start(self, model: str) -> None:
        self._envelope.start(model)
        self._text = [
            self._envelope.around(b'{"index":%d,"text":' % choice, b',"logprobs":null,"finish_reason":null}')
            for choice in range(len(self._logprobs))
        ]

    def _event(
        self,
        choice: int,
        text: str,
        *,
        logprobs: dict[str, list[Any]] | None = None,
        reason: str | None = None,
    ) -> bytes:
        return self._envelope.event(
            {"index": choice, "text": text, "logprobs": logprobs, "finish_reason": reason}
        )
