"""One open chat: sends, streams, stops, regenerates, edits. Knows nothing of widgets.

Text that arrives is in the chat's last turn at once, but `changed` is emitted at most every
`COALESCE_SECONDS`, so that a fast model does not make the window lay out every token.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from PySide6.QtCore import QObject, Signal

from app.ui.backend import AnswerPart, Backend, BackendError, Done, ReasoningPart, TextPart
from app.ui.chat.model import Chat, Turn, clean, said, title_from
from app.ui.tasks import Tasks

COALESCE_SECONDS = 0.04
SAVE_SECONDS = 2.0


class ChatSession(QObject):
    """`appended`, `changed` and `truncated` carry the index of the turn; `saved` asks to write the chat."""

    appended = Signal(int)
    changed = Signal(int)
    truncated = Signal(int)
    busy_changed = Signal(bool)
    failed = Signal(str)
    saved = Signal(object)

    def __init__(
        self,
        chat: Chat,
        *,
        backend: Callable[[], Backend],
        tasks: Tasks,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self.chat = chat
        self._backend = backend
        self._tasks = tasks
        self._clock = clock
        self._wall_clock = wall_clock
        self._answering: asyncio.Task[None] | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._saved_at = 0.0

    @property
    def busy(self) -> bool:
        return self._answering is not None

    @property
    def can_regenerate(self) -> bool:
        return not self.busy and any(turn.role == "user" for turn in self.chat.turns)

    def last_question(self) -> int | None:
        """The index of the last user turn."""
        turns = self.chat.turns
        return next((i for i in reversed(range(len(turns))) if turns[i].role == "user"), None)

    def send(self, text: str, model: str) -> None:
        """Asks `text`. Does nothing while an answer is being written."""
        if self.busy or not text.strip():
            return
        text = clean(text)
        if not self.chat.title:
            self.chat.title = title_from(text)
        self._append(Turn(role="user", text=text.strip(), created=self._wall_clock()))
        self._begin(model)

    def regenerate(self, model: str) -> None:
        """Drops what follows the last question, and asks it again."""
        question = self.last_question()
        if self.busy or question is None:
            return
        self._truncate(question + 1)
        self._begin(model)

    def edit_last(self, text: str, model: str) -> None:
        """Replaces the last question and what followed it."""
        question = self.last_question()
        if self.busy or question is None or not text.strip():
            return
        self._truncate(question)
        self.send(text, model)

    def stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def _append(self, turn: Turn) -> None:
        self.chat.turns.append(turn)
        self.appended.emit(len(self.chat.turns) - 1)

    def _truncate(self, length: int) -> None:
        if length < len(self.chat.turns):
            del self.chat.turns[length:]
            self.truncated.emit(length)

    def _save(self) -> None:
        self._saved_at = self._clock()
        self.chat.updated = self._wall_clock()
        self.saved.emit(self.chat)

    def _begin(self, model: str) -> None:
        self.chat.model = model
        turn = Turn(role="assistant", model=model, created=self._wall_clock())
        self._append(turn)
        self._save()
        self._answering = self._tasks.start(self._answer(turn, model), name=f"chat {self.chat.id}")
        self._answering.add_done_callback(lambda task: self._ended(task, turn))
        self.busy_changed.emit(True)

    async def _answer(self, turn: Turn, model: str) -> None:
        started = self._clock()
        try:
            said_so_far = said(self.chat.turns[:-1])
            parts = self._backend().answer(model=model, said=said_so_far, session=self.chat.id)
            await self._take(parts, turn, started)
        except BackendError as error:
            turn.error = str(error)

    async def _take(self, parts: AsyncGenerator[AnswerPart, None], turn: Turn, started: float) -> None:
        first: float | None = None
        async with contextlib.aclosing(parts):
            async for part in parts:
                now = self._clock()
                if isinstance(part, Done):
                    _finish(turn, part, now - (first if first is not None else started))
                    continue
                first = now if first is None else first
                if isinstance(part, TextPart):
                    turn.text += clean(part.text)
                elif isinstance(part, ReasoningPart):
                    turn.reasoning += clean(part.text)
                    turn.reasoning_seconds = now - started
                self._note_change(now)

    def _note_change(self, now: float) -> None:
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(COALESCE_SECONDS, self._emit_change)
        if now - self._saved_at >= SAVE_SECONDS:
            self._save()

    def _emit_change(self) -> None:
        self._flush = None
        self.changed.emit(len(self.chat.turns) - 1)

    def _ended(self, task: asyncio.Task[None], turn: Turn) -> None:
        if self._flush is not None:
            self._flush.cancel()
        self._answering = None
        turn.stopped = task.cancelled()
        if not (turn.error or turn.stopped or turn.finish):
            turn.error = self.tr("The answer broke off. The log file says why.")
        self._emit_change()
        self._save()
        self.busy_changed.emit(False)
        if turn.error:
            self.failed.emit(turn.error)


def _finish(turn: Turn, done: Done, measured_seconds: float) -> None:
    turn.tokens = done.tokens
    turn.seconds = done.seconds or measured_seconds
    turn.served_by = done.served_by
    turn.finish = done.finish
