"""The chat window: sidebar, header, conversation and composer, wired to the desk."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMessageBox, QStackedWidget, QVBoxLayout, QWidget

from app.ui.chat.composer import Composer
from app.ui.chat.conversation_view import ConversationView
from app.ui.chat.desk import Desk
from app.ui.chat.empty_state import EmptyState
from app.ui.chat.header import Header
from app.ui.chat.session import ChatSession
from app.ui.chat.sidebar import Sidebar
from app.ui.status import NodeStatus, Phase
from app.ui.theme import tokens
from app.ui.theme.theme import Theme
from app.ui.widgets.roles import frame


class ChatWindow(QWidget):
    """`close_asked` is emitted instead of closing: what that means depends on whether there is a tray."""

    close_asked = Signal()

    def __init__(self, *, desk: Desk, status: NodeStatus, theme: Theme, suggestions: Sequence[str]) -> None:
        super().__init__()
        self._desk = desk
        self._status = status
        self._session: ChatSession | None = None
        self.sidebar = Sidebar(theme=theme)
        self.header = Header()
        self.empty = EmptyState(theme=theme, suggestions=suggestions)
        self.conversation = ConversationView(theme=theme, model_name=desk.model_name)
        self.composer = Composer(theme=theme)
        self._middle = QStackedWidget()
        self.setProperty("role", "window")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setWindowTitle(self.tr("SwarmLLM"))
        self.resize(1080, 760)
        self.setMinimumSize(720, 480)
        self._arrange()
        self._connect_parts()
        self._add_shortcuts()
        self._show_session(desk.current)
        self._show_status()

    def _arrange(self) -> None:
        self._middle.addWidget(self.empty)
        page = QWidget()
        rule = frame("divider")
        rule.setFixedHeight(1)
        stacked = QVBoxLayout(page)
        stacked.setContentsMargins(0, 0, 0, 0)
        stacked.setSpacing(0)
        stacked.addWidget(rule)
        stacked.addWidget(self.conversation)
        self._middle.addWidget(page)
        bottom = QWidget()
        row = QHBoxLayout(bottom)
        row.setContentsMargins(24, 0, 24, 12)
        row.addStretch(1)
        self.composer.setMaximumWidth(tokens.COLUMN + 36)
        row.addWidget(self.composer, 1000)
        row.addStretch(1)
        main = QVBoxLayout()
        main.setSpacing(0)
        main.addWidget(self.header)
        main.addWidget(self._middle, 1)
        main.addWidget(bottom)
        divider = frame("divider")
        divider.setFixedWidth(1)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.sidebar)
        whole.addWidget(divider)
        whole.addLayout(main, 1)

    def _connect_parts(self) -> None:
        desk = self._desk
        self.sidebar.new_asked.connect(self.new_chat)
        self.sidebar.opened.connect(desk.open_chat)
        self.sidebar.renamed.connect(desk.rename)
        self.sidebar.delete_asked.connect(self._confirm_delete)
        self.header.model_chosen.connect(desk.choose_model)
        self.empty.asked.connect(desk.send)
        self.composer.sent.connect(self._send)
        self.composer.stop_asked.connect(desk.stop)
        self.composer.recall_asked.connect(self._edit_last)
        self.conversation.edit_asked.connect(self._edit_last)
        self.conversation.regenerate_asked.connect(desk.regenerate)
        desk.opened.connect(self._show_session)
        desk.listed.connect(self._show_chats)
        desk.models_changed.connect(self._show_models)
        self._status.changed.connect(self._show_status)

    def _add_shortcuts(self) -> None:
        shortcuts: dict[QKeySequence | QKeySequence.StandardKey | str, Callable[[], object]] = {
            QKeySequence.StandardKey.New: self.new_chat,
            QKeySequence.StandardKey.Find: self.sidebar.focus_search,
            QKeySequence.StandardKey.Close: self.close,
            "Ctrl+L": self.composer.focus,
            "Ctrl+R": self._desk.regenerate,
            "Escape": self.composer.escape,
        }
        for keys, action in shortcuts.items():
            QShortcut(QKeySequence(keys), self).activated.connect(action)

    def new_chat(self) -> None:
        self._desk.new_chat()
        self.composer.focus()

    def open(self) -> None:
        """Shows the window, in front, ready to type."""
        if self.isMinimized():
            self.showNormal()
        self.show()
        self.raise_()
        self.activateWindow()
        self.composer.focus()
        self._desk.look_for_models()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        event.ignore()
        self.close_asked.emit()

    def _send(self, text: str) -> None:
        editing = self.composer.editing
        self.composer.clear()
        if editing:
            self._desk.edit_last(text)
        else:
            self._desk.send(text)

    def _edit_last(self) -> None:
        session = self._desk.current
        question = session.last_question()
        if question is not None and not session.busy:
            self.composer.edit(session.chat.turns[question].text)

    def _show_session(self, session: ChatSession) -> None:
        if self._session is not None:
            self._session.appended.disconnect(self._show_middle)
            self._session.busy_changed.disconnect(self._show_busy)
        self._session = session
        session.appended.connect(self._show_middle)
        session.busy_changed.connect(self._show_busy)
        if self.composer.editing:
            self.composer.clear()
        self.conversation.bind(session)
        self._show_middle()
        self._show_busy(session.busy)
        self._show_models()
        self._show_chats()

    def _show_middle(self, *_: object) -> None:
        turns = self._desk.current.chat.turns
        self._middle.setCurrentIndex(1 if turns else 0)

    def _show_busy(self, busy: bool) -> None:
        self.composer.set_busy(busy)

    def _show_chats(self) -> None:
        self.sidebar.show_chats(self._desk.chats, self._desk.current.chat.id)
        title = self._desk.current.chat.title
        self.header.show_title(title)
        self.setWindowTitle(self.tr("{chat} - SwarmLLM").format(chat=title) if title else "SwarmLLM")

    def _show_models(self) -> None:
        model = self._desk.model
        self.header.show_models(self._desk.models, model.id if model else "")
        self._status.serves(model.name if model else "")
        self._show_readiness()

    def _show_status(self) -> None:
        self.sidebar.status.show_status(self._status.current)
        self._show_readiness()

    def _show_readiness(self) -> None:
        model = self._desk.model
        phase = self._status.current.phase
        self.empty.show_model(model, phase)
        if model is not None:
            placeholder = self.tr("Message {model}").format(model=model.name)
        elif phase is not Phase.READY:
            placeholder = self.tr("Write a message")
        else:
            placeholder = self.tr("There is no model to talk to yet")
        self.composer.set_ready(self._desk.ready, placeholder)

    def _confirm_delete(self, chat_id: str) -> None:
        chat = next((chat for chat in self._desk.chats if chat.id == chat_id), None)
        if chat is None:
            return
        question = QMessageBox(self)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.setIcon(QMessageBox.Icon.Question)
        question.setWindowTitle(self.tr("Delete chat"))
        question.setTextFormat(Qt.TextFormat.PlainText)
        question.setText(self.tr("Delete “{title}”?").format(title=chat.title))
        question.setInformativeText(self.tr("The chat is removed from this computer for good."))
        delete = question.addButton(self.tr("Delete"), QMessageBox.ButtonRole.DestructiveRole)
        keep = question.addButton(QMessageBox.StandardButton.Cancel)
        question.setDefaultButton(keep)
        delete.clicked.connect(lambda: self._desk.delete(chat_id))
        question.open()
