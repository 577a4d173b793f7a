"""The turns of a chat, and the file that keeps them."""

import contextlib
import os
from pathlib import Path
from typing import Self

import msgspec

from app.cli import exits
from app.cli.host import CommandError
from app.client.types import Message

MAX_FILE = 16 << 20

_decode = msgspec.json.Decoder(list[Message]).decode


class Conversation:
    """What was said so far. With a `file`, each change is saved there as a JSON list of messages."""

    def __init__(self, *, system: str | None, turns: list[Message], file: Path | None) -> None:
        self._system = system
        self._turns = turns
        self._file = file

    @classmethod
    def opened(cls, file: Path | None, *, system: str | None) -> Self:
        """Goes on with the conversation in `file` if it exists. Raises CommandError if it is none."""
        messages: list[Message] = []
        if file is not None and file.exists():
            try:
                with file.open("rb") as stream:
                    messages = _decode(stream.read(MAX_FILE))
            except (OSError, ValueError, RecursionError) as error:
                raise CommandError(f"{file} is not a conversation: {error}.", exits.FAILURE) from error
        systems = [message.content for message in messages if message.role == "system"]
        turns = [message for message in messages if message.role != "system"]
        return cls(system=system or (systems[0] if systems else None), turns=turns, file=file)

    @property
    def messages(self) -> list[Message]:
        """What the model is sent."""
        system = [Message(role="system", content=self._system)] if self._system else []
        return system + self._turns

    @property
    def last_question(self) -> str | None:
        return next((turn.content for turn in reversed(self._turns) if turn.role == "user"), None)

    def with_question(self, text: str) -> list[Message]:
        """What the model is sent for a new question, which is kept only when it was answered."""
        return [*self.messages, Message(role="user", content=text)]

    def add(self, question: str, answer: str) -> None:
        self._turns += [Message(role="user", content=question), Message(role="assistant", content=answer)]
        self._save()

    def drop_last(self) -> None:
        """Forgets the last question and its answer."""
        while self._turns and self._turns.pop().role != "user":
            pass
        self._save()

    def restart(self) -> None:
        self._turns.clear()
        self._save()

    def set_system(self, text: str) -> None:
        self._system = text or None
        self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        new = self._file.with_name(self._file.name + ".new")
        try:
            with open(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as stream:  # noqa: PTH123
                stream.write(msgspec.json.format(msgspec.json.encode(self.messages)) + b"\n")
            new.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise CommandError(f"{self._file} cannot be written: {error.strerror}.", exits.FAILURE) from error
