"""The scrolling column of messages of one chat.

Follows the newest text until the user scrolls up, and again once they are back at the end. Only a
bounded window of turns has widgets (`live_range`); the rest comes when it is scrolled to.
"""

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QEvent, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from app.ui.chat.answer import Answer
from app.ui.chat.live_range import LiveRange
from app.ui.chat.model import Turn
from app.ui.chat.question import Question
from app.ui.chat.session import ChatSession
from app.ui.theme import tokens
from app.ui.theme.theme import Theme
from app.ui.widgets.icon_button import IconButton
from app.ui.widgets.roles import discard

_NEAR_END = 32
_NEAR_TOP = 120
_GAP = 22
_SIDE = 24


class ConversationView(QScrollArea):
    edit_asked = Signal()
    regenerate_asked = Signal()

    def __init__(self, *, theme: Theme, model_name: Callable[[str], str]) -> None:
        super().__init__()
        self._theme = theme
        self._model_name = model_name
        self._session: ChatSession | None = None
        self._live = LiveRange.newest(0)
        self._widgets: list[Question | Answer] = []
        self._following = True
        self._paging = False
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(self.tr("Conversation"))
        self._canvas = QWidget()
        self._row = QHBoxLayout(self._canvas)
        self._column = QVBoxLayout()
        self._arrange()
        self._to_end = IconButton(
            "arrow-down", self.tr("Go to the newest message"), theme=theme, role="floating", parent=self
        )
        self._to_end.setFixedSize(QSize(32, 32))
        self._to_end.hide()
        self._to_end.clicked.connect(self.follow)
        bar = self.verticalScrollBar()
        bar.rangeChanged.connect(self._range_changed)
        bar.valueChanged.connect(self._scrolled)

    def _arrange(self) -> None:
        self._canvas.setProperty("role", "canvas")
        column = QWidget()
        column.setMaximumWidth(tokens.COLUMN)
        column.setLayout(self._column)
        self._column.setContentsMargins(0, 20, 0, 28)
        self._column.setSpacing(_GAP)
        self._column.addStretch()
        self._row.setContentsMargins(_SIDE, 0, _SIDE, 0)
        self._row.addStretch(1)
        self._row.addWidget(column, 1000)
        self._row.addStretch(1)
        self.setWidget(self._canvas)

    def bind(self, session: ChatSession) -> None:
        """Shows `session`, and only it, from now on."""
        if self._session is not None:
            self._session.appended.disconnect(self._appended)
            self._session.changed.disconnect(self._changed)
            self._session.truncated.disconnect(self._truncated)
            self._session.busy_changed.disconnect(self._refresh_tail)
        self._session = session
        session.appended.connect(self._appended)
        session.changed.connect(self._changed)
        session.truncated.connect(self._truncated)
        session.busy_changed.connect(self._refresh_tail)
        self._show(LiveRange.newest(len(session.chat.turns)), rebuild=True)
        self.follow()

    def follow(self) -> None:
        """Goes to the newest message and stays with it."""
        if self._live.has_newer:
            self._show(LiveRange.newest(self._live.total), rebuild=True)
        self._following = True
        self._to_end.hide()
        QTimer.singleShot(0, self, self._jump)

    @property
    def live_count(self) -> int:
        """How many messages have widgets."""
        return len(self._widgets)

    @property
    def following(self) -> bool:
        return self._following

    def _turns(self) -> list[Turn]:
        return self._session.chat.turns if self._session is not None else []

    def _show(self, wanted: LiveRange, *, rebuild: bool = False) -> None:
        """Makes the widgets those of `wanted`, keeping the ones that stay."""
        before = self._live
        if rebuild or wanted.first >= before.last or wanted.last <= before.first:
            self._drop(0, len(self._widgets))
            before = LiveRange(wanted.first, wanted.first, wanted.total)
        self._live = wanted
        turns = self._turns()
        if wanted.last < before.last:
            self._drop(wanted.last - before.first, len(self._widgets))
        if wanted.first > before.first:
            self._drop(0, wanted.first - before.first)
        for index in range(before.first - 1, wanted.first - 1, -1):
            self._insert(0, turns[index])
        for index in range(max(before.last, wanted.first), wanted.last):
            self._insert(len(self._widgets), turns[index])
        for index in range(wanted.first, wanted.last):
            self._refresh(index)

    def _insert(self, position: int, turn: Turn) -> None:
        made: Question | Answer
        if turn.role == "user":
            made = Question(turn, theme=self._theme)
            made.edit_asked.connect(self.edit_asked)
        else:
            made = Answer(turn, theme=self._theme, model_name=self._model_name(turn.model))
            made.regenerate_asked.connect(self.regenerate_asked)
        self._widgets.insert(position, made)
        self._column.insertWidget(position, made)
        made.show()

    def _drop(self, start: int, end: int) -> None:
        for widget in self._widgets[start:end]:
            self._column.removeWidget(widget)
            discard(widget)
        del self._widgets[start:end]

    def _refresh(self, index: int) -> None:
        if self._session is None or not self._live.first <= index < self._live.last:
            return
        final = len(self._turns()) - 1
        asked = self._session.last_question()
        last = index in (final, asked)
        streaming = self._session.busy and index >= (asked or 0)
        self._widgets[index - self._live.first].show_turn(streaming=streaming, last=last)

    def _refresh_tail(self, *_: object) -> None:
        for index in range(max(self._live.first, self._live.last - 4), self._live.last):
            self._refresh(index)

    def _appended(self, _index: int) -> None:
        self._show(self._live.appended())
        if self._turns()[-1].role == "user":
            self.follow()

    def _changed(self, index: int) -> None:
        self._refresh(index)

    def _truncated(self, length: int) -> None:
        self._show(self._live.truncated(length))

    def _jump(self) -> None:
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _range_changed(self, _low: int, high: int) -> None:
        bar = self.verticalScrollBar().sizeHint().width() if high else 0
        self._row.setContentsMargins(_SIDE, 0, _SIDE - bar, 0)
        if self._following:
            self.verticalScrollBar().setValue(high)
        self._to_end.setVisible(not self._following)

    def _scrolled(self, value: int) -> None:
        bar = self.verticalScrollBar()
        self._following = value >= bar.maximum() - _NEAR_END and not self._live.has_newer
        self._to_end.setVisible(not self._following)
        if self._paging:
            return
        if value <= _NEAR_TOP and self._live.has_older:
            self._page(self._live.older(), anchor=0)
        elif value >= bar.maximum() - _NEAR_END and self._live.has_newer:
            self._page(self._live.newer(), anchor=len(self._widgets) - 1)

    def _page(self, wanted: LiveRange, *, anchor: int) -> None:
        """Loads more turns while the widget at `anchor` keeps its place on the screen."""
        self._paging = True
        kept = self._widgets[anchor]
        before = kept.y() - self.verticalScrollBar().value()
        self._show(wanted)
        self._settle()
        self.verticalScrollBar().setValue(kept.y() - before)
        self._paging = False

    def _settle(self) -> None:
        """Lays out at once; the height of a text is known only after its width."""
        for _ in range(3):
            QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        button = self._to_end
        button.move((self.viewport().width() - button.width()) // 2, self.height() - button.height() - 14)
