"""Turns what a worker reports for a request into the kernel's chunks. Sans IO."""

from collections.abc import Callable

import msgspec

from app.core.engine import messages
from app.core.engine.chat import AnswerParser
from app.core.kernel.errors import WorkerCrashed
from app.core.kernel.generation import (
    ChatRequest,
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


class ChatAnswer:
    """The answer to a chat request by a model that writes calls as `family` does."""

    def __init__(
        self, *, request: ChatRequest, model: str, family: str, new_call_id: Callable[[], str]
    ) -> None:
        self._request = request
        self._model = model
        self._family = family
        self._new_call_id = new_call_id
        self._parsers: dict[int, AnswerParser] = {}
        self._logprobs: dict[int, tuple[TokenLogprob, ...]] = {}

    def chunks(self, report: messages.Report) -> list[Chunk]:
        """What `report` means to the one who asked. Raises WorkerCrashed for one that makes no sense."""
        match report:
            case messages.Piece():
                parser = self._parser(report.choice)
                events = parser.feed(report.text)
                if not report.logprobs and report.choice not in self._logprobs:
                    return list(events)
                waits = parser.holds_text or not report.text
                return self._with_logprobs(report.choice, events, report.logprobs, waits=waits)
            case messages.Started():
                parsers = (self._new_parser(report.prompt_tail, n) for n in range(self._request.n))
                self._parsers = dict(enumerate(parsers))
                return [started(self._model, report)]
            case messages.Finished():
                return self._finished(report)
            case messages.Done():
                return [usage(report)]
            case _:
                raise confused(self._model)

    def _new_parser(self, prompt_tail: str, choice: int) -> AnswerParser:
        request = self._request
        return AnswerParser(
            self._family,
            () if request.tool_choice.mode == "none" else request.tools,
            prompt_tail,
            choice=choice,
            parallel=request.parallel_tool_calls,
            new_id=self._new_call_id,
        )

    def _parser(self, choice: int) -> AnswerParser:
        parser = self._parsers.get(choice)
        if parser is None:
            raise confused(self._model)
        return parser

    def _finished(self, report: messages.Finished) -> list[Chunk]:
        parser = self._parser(report.choice)
        chunks = self._with_logprobs(report.choice, parser.finish(), (), waits=True)
        if left := self._logprobs.pop(report.choice, ()):
            chunks.append(TextDelta(text="", choice=report.choice, logprobs=left))
        reason: FinishReason = "tool_calls" if parser.calls and report.reason == "stop" else report.reason
        chunks.append(finished(report, reason))
        return chunks

    def _with_logprobs(
        self,
        choice: int,
        events: list[TextDelta | ReasoningDelta | ToolCallDelta],
        logprobs: tuple[TokenLogprob, ...],
        *,
        waits: bool,
    ) -> list[Chunk]:
        """Log-probabilities wait for the text that their tokens were held back for; those of thoughts and
        calls are left out, as they belong to no text.
        """
        chunks: list[Chunk] = list(events)
        waiting = self._logprobs.pop(choice, ()) + logprobs
        if not waiting:
            return chunks
        for index, chunk in enumerate(chunks):
            if isinstance(chunk, TextDelta):
                chunks[index] = msgspec.structs.replace(chunk, logprobs=waiting)
                return chunks
        if waits:
            self._logprobs[choice] = waiting
        return chunks


class TextAnswer:
    """A plain completion; `echo` is put before each choice's text."""

    def __init__(self, *, model: str, choices: int, echo: str) -> None:
        self._model = model
        self._choices = choices
        self._echo = echo

    def chunks(self, report: messages.Report) -> list[Chunk]:
        """What `report` means to the one who asked. Raises WorkerCrashed for one that makes no sense."""
        if isinstance(report, messages.Piece | messages.Finished) and not 0 <= report.choice < self._choices:
            raise confused(self._model)
        match report:
            case messages.Piece():
                return [TextDelta(text=report.text, choice=report.choice, logprobs=report.logprobs)]
            case messages.Started():
                echoes = [
                    TextDelta(text=self._echo, choice=n) for n in range(self._choices if self._echo else 0)
                ]
                return [started(self._model, report), *echoes]
            case messages.Finished():
                return [finished(report, report.reason)]
            case messages.Done():
                return [usage(report)]
            case _:
                raise confused(self._model)


def started(model: str, report: messages.Started) -> Started:
    return Started(model=model, prompt_tokens=report.prompt_tokens, cached_tokens=report.cached_tokens)


def finished(report: messages.Finished, reason: FinishReason) -> Finished:
    return Finished(
        reason=reason,
        choice=report.choice,
        completion_tokens=report.completion_tokens,
        stop=report.stop,
    )


def usage(report: messages.Done) -> Usage:
    return Usage(
        prompt_tokens=report.prompt_tokens,
        completion_tokens=report.completion_tokens,
        cached_tokens=report.cached_tokens,
        prefill_seconds=report.prefill_seconds,
        decode_seconds=report.decode_seconds,
    )


def confused(model: str) -> WorkerCrashed:
    """For a worker whose answer does not fit the question."""
    return WorkerCrashed(f"The worker of model {model!r} gave an answer that does not fit the question.")
