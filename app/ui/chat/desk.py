"""All chats of the window: the open ones, the kept ones, and the one in view.

A chat goes on being answered while another one is in view. Every change is written; leaving waits for
the last write.
"""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from PySide6.QtCore import QObject, Signal

from app.ui.backend import Backend, BackendError, ModelChoice
from app.ui.chat.model import Chat
from app.ui.chat.session import ChatSession
from app.ui.chat.store import ChatStore
from app.ui.tasks import Tasks

log = logging.getLogger(__name__)


class Desk(QObject):
    """`async with` loads the chats on entry. `opened` carries the session that is in view from then on.

    `failed` carries the sentence of an answer that failed, which its chat shows too; `troubled` one that
    nothing else shows.
    """

    opened = Signal(object)
    listed = Signal()
    models_changed = Signal()
    answering_changed = Signal(int)
    failed = Signal(str)
    troubled = Signal(str)

    def __init__(
        self,
        *,
        store: ChatStore,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._new_id = new_id
        self._tasks = Tasks()
        self._sessions: dict[str, ChatSession] = {}
        self._unsaved: dict[str, Chat] = {}
        self._writer: asyncio.Task[None] | None = None
        self._backend: Backend | None = None
        self._preferred = ""
        self.chats: list[Chat] = []
        self.models: tuple[ModelChoice, ...] = ()
        self.current = self._session(self._blank())

    async def __aenter__(self) -> Self:
        self.chats = await self._store.load()
        self.listed.emit()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)
        while self._writer is not None:
            await asyncio.wait([self._writer])

    @property
    def ready(self) -> bool:
        """Whether a question can be sent now."""
        return self._backend is not None and self.model is not None

    @property
    def model(self) -> ModelChoice | None:
        """The model for the chat in view: the chat's own, else the last chosen, else the first."""
        wanted = (self.current.chat.model, self._preferred)
        known = {model.id: model for model in self.models}
        return next((known[name] for name in wanted if name in known), next(iter(self.models), None))

    async def connect_to(self, backend: Backend) -> None:
        """From now on `backend` answers."""
        self._backend = backend
        await self.refresh_models()

    async def refresh_models(self) -> None:
        if self._backend is None:
            return
        try:
            models = await self._backend.models()
        except BackendError as error:
            self.troubled.emit(str(error))
            return
        if models != self.models:
            self.models = models
            self.models_changed.emit()

    def look_for_models(self) -> None:
        """Refreshes the models in the background."""
        self._tasks.start(self.refresh_models(), name="list models")

    def choose_model(self, model_id: str) -> None:
        self._preferred = model_id
        self.current.chat.model = model_id
        self.models_changed.emit()

    def model_name(self, model_id: str) -> str:
        return next((model.name for model in self.models if model.id == model_id), model_id)

    def new_chat(self) -> None:
        if self.current.chat.turns:
            self._open(self._session(self._blank()))
        else:
            self.opened.emit(self.current)

    def open_chat(self, chat_id: str) -> None:
        chat = next((chat for chat in self.chats if chat.id == chat_id), None)
        if chat is not None and chat is not self.current.chat:
            self._open(self._sessions.get(chat_id) or self._session(chat))

    def rename(self, chat_id: str, title: str) -> None:
        for chat in self.chats:
            if chat.id == chat_id and title:
                chat.title = title
                self._save(chat)
        self.listed.emit()

    def delete(self, chat_id: str) -> None:
        session = self._sessions.pop(chat_id, None)
        if session is not None:
            session.stop()
        self.chats = [chat for chat in self.chats if chat.id != chat_id]
        self._unsaved.pop(chat_id, None)
        self._tasks.start(self._forget(chat_id), name=f"delete chat {chat_id}")
        if self.current.chat.id == chat_id:
            self._open(self._session(self._blank()))
        self.listed.emit()

    def send(self, text: str) -> None:
        if self.ready and self.model is not None:
            self.current.send(text, self.model.id)

    def stop(self) -> None:
        self.current.stop()

    def regenerate(self) -> None:
        if self.ready and self.model is not None:
            self.current.regenerate(self.model.id)

    def edit_last(self, text: str) -> None:
        if self.ready and self.model is not None:
            self.current.edit_last(text, self.model.id)

    def _blank(self) -> Chat:
        now = self._wall_clock()
        return Chat(id=self._new_id(), created=now, updated=now)

    def _session(self, chat: Chat) -> ChatSession:
        session = ChatSession(
            chat,
            backend=self._answering_backend,
            tasks=self._tasks,
            clock=self._clock,
            wall_clock=self._wall_clock,
        )
        session.saved.connect(self._keep)
        session.busy_changed.connect(self._count_busy)
        session.failed.connect(self.failed)
        self._sessions[chat.id] = session
        return session

    def _answering_backend(self) -> Backend:
        if self._backend is None:
            raise BackendError(self.tr("The node is still starting."))
        return self._backend

    def _open(self, session: ChatSession) -> None:
        left = self.current
        self.current = session
        if not left.busy and left is not session:
            self._sessions.pop(left.chat.id, None)
        self.opened.emit(session)
        self.models_changed.emit()
        self.listed.emit()

    def _count_busy(self, _busy: bool) -> None:
        self.answering_changed.emit(sum(session.busy for session in self._sessions.values()))

    def _keep(self, chat: Chat) -> None:
        """A session asks to write its chat; a deleted chat is not brought back."""
        if chat.id not in self._sessions:
            return
        self.chats = [chat, *(other for other in self.chats if other.id != chat.id)]
        self._save(chat)
        self.listed.emit()

    def _save(self, chat: Chat) -> None:
        self._unsaved[chat.id] = chat
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write(), name="write chats")

    async def _write(self) -> None:
        try:
            while self._unsaved:
                _, chat = self._unsaved.popitem()
                await self._write_one(chat)
        finally:
            self._writer = None

    async def _write_one(self, chat: Chat) -> None:
        try:
            await self._store.save(chat)
        except OSError as error:
            log.warning("The chat %s could not be written: %s", chat.id, error)
            self.troubled.emit(self.tr("The chat could not be written to disk: {why}").format(why=error))

    async def _forget(self, chat_id: str) -> None:
        try:
            await self._store.delete(chat_id)
        except OSError as error:
            self.troubled.emit(self.tr("The chat could not be deleted: {why}").format(why=error))
