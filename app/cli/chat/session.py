"""Questions and answers in the terminal."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from app.cli import exits
from app.cli.chat.conversation import Conversation
from app.cli.failures import of_client_error
from app.cli.host import CommandError, Connection
from app.cli.terminal import fail, harmless, note, say
from app.client.client import Client
from app.client.errors import ClientError
from app.client.types import Delta, Finished, Options, Reasoning, Text, Usage

HELP = """/new             start a new conversation
/retry           ask the last question again
/system TEXT     set the system prompt; without TEXT: none
/model NAME      talk to another model
/models          list the models
/exit            end the chat (or Ctrl-D)"""

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass
class _Answer:
    """What arrived so far."""

    text: str = ""
    thinking: bool = False
    finish: str = ""
    usage: Usage | None = None


class ChatSession:
    """A conversation with the node at `connection`; `run` runs a coroutine until it is done or Ctrl-C."""

    def __init__(
        self,
        *,
        connection: Connection,
        conversation: Conversation,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._connection = connection
        self._conversation = conversation
        self._model = model
        self._options = Options(max_tokens=max_tokens, temperature=temperature)
        self._run = run
        self._tty = sys.stdout.isatty()

    def answer_once(self, question: str) -> int:
        """Prints the answer to one question; returns the exit code. Raises CommandError."""
        try:
            self._ask(question)
        except KeyboardInterrupt:
            return exits.INTERRUPTED
        return exits.OK

    def talk(self, lines: Iterable[str]) -> None:
        """Answers each line until they end. A failed answer is told, and the chat goes on."""
        for line in lines:
            if line in ("/exit", "/quit"):
                return
            try:
                self._one(line)
            except CommandError as error:
                fail(error.message)
            except KeyboardInterrupt:
                note(" (stopped)")

    def _one(self, line: str) -> None:
        if line.startswith("/"):
            self._command(*line[1:].partition(" ")[::2])
        else:
            self._ask(line)

    def _command(self, name: str, rest: str) -> None:
        rest = rest.strip()
        match name:
            case "help":
                say(HELP)
            case "new":
                self._conversation.restart()
            case "retry":
                self._retry()
            case "system":
                self._conversation.set_system(rest)
            case "model" if rest:
                self._model = rest
            case "model":
                say(self._model)
            case "models":
                self._run(self._list_models())
            case _:
                fail(f"There is no command /{name}; /help lists them.")

    def _retry(self) -> None:
        question = self._conversation.last_question
        if question is None:
            fail("Nothing was asked yet.")
            return
        self._conversation.drop_last()
        self._ask(question)

    def _ask(self, question: str) -> None:
        answer = _Answer()
        try:
            self._run(self._stream(question, answer))
        except ClientError as error:
            self._end(answer)
            raise of_client_error(error) from error
        except KeyboardInterrupt:
            # What was read before the stop is part of the conversation.
            self._keep(question, answer)
            raise
        self._end(answer)
        self._keep(question, answer)

    def _keep(self, question: str, answer: _Answer) -> None:
        if answer.text:
            self._conversation.add(question, answer.text)

    async def _stream(self, question: str, answer: _Answer) -> None:
        messages = self._conversation.with_question(question)
        async with Client(self._connection.url, self._connection.token) as client:
            deltas = client.chat(messages, model=self._model, options=self._options)
            async with aclosing(cast("Any", deltas)) as stream:
                await self._print(stream, answer)

    async def _print(self, deltas: AsyncIterator[Delta], answer: _Answer) -> None:
        async for delta in deltas:
            match delta:
                case Reasoning(text=text):
                    self._show_thought(text, answer)
                case Text(text=text):
                    self._show_text(text, answer)
                case Finished(reason=reason):
                    answer.finish = reason
                case Usage():
                    answer.usage = delta

    def _show_thought(self, text: str, answer: _Answer) -> None:
        # Thoughts are for a person who watches, not for a file.
        if self._tty:
            self._write(("" if answer.thinking else _DIM) + harmless(text))
            answer.thinking = True

    def _show_text(self, text: str, answer: _Answer) -> None:
        if answer.thinking:
            self._write(_PLAIN + "\n")
            answer.thinking = False
        answer.text += text  # first: what a person saw before a stop belongs to the conversation
        self._write(harmless(text) if self._tty else text)

    def _end(self, answer: _Answer) -> None:
        if answer.thinking or answer.text:
            self._write((_PLAIN if answer.thinking else "") + "\n")
        if answer.finish == "length":
            note("(The answer was cut at the longest length allowed.)")
        if self._tty and answer.usage is not None and answer.usage.decode_seconds > 0:
            usage = answer.usage
            note(f"{_DIM}{usage.completion_tokens} tokens, {usage.tokens_per_second:.1f} a second{_PLAIN}")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    async def _list_models(self) -> None:
        async with Client(self._connection.url, self._connection.token) as client:
            for model in await client.models():
                say(harmless(model.id))
