"""A message of the user: a bubble at the right, as wide as its text, with Copy and Edit below."""

import math

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.ui.chat.model import Turn
from app.ui.theme import tokens
from app.ui.theme.theme import Theme, sans
from app.ui.widgets.auto_text import AutoText
from app.ui.widgets.copy import CopyFeedback
from app.ui.widgets.icon_button import IconButton
from app.ui.widgets.roles import frame

_PADDING = 16


class Question(QWidget):
    edit_asked = Signal()

    def __init__(self, turn: Turn, *, theme: Theme) -> None:
        super().__init__()
        self._turn = turn
        self._text = AutoText(sans(tokens.TEXT_BODY))
        self._text.setAccessibleName(self.tr("Your message"))
        self._text.setPlainText(turn.text)
        self._copy = IconButton("copy", self.tr("Copy message"), theme=theme)
        self._edit = IconButton("pencil", self.tr("Edit message"), theme=theme)
        self._feedback = CopyFeedback(self._copy, "")
        self._copy.clicked.connect(self._copy_text)
        self._edit.clicked.connect(self.edit_asked)
        self._edit.hide()
        self.setAccessibleName(self.tr("You"))
        self._arrange()

    def _arrange(self) -> None:
        self._bubble = frame("bubble")
        inside = QVBoxLayout(self._bubble)
        inside.setContentsMargins(_PADDING, 10, _PADDING, 10)
        inside.addWidget(self._text)
        actions = QHBoxLayout()
        actions.setSpacing(2)
        actions.addStretch()
        actions.addWidget(self._copy)
        actions.addWidget(self._edit)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._bubble, 0, Qt.AlignmentFlag.AlignRight)
        column.addLayout(actions)

    def show_turn(self, *, streaming: bool, last: bool) -> None:
        """Only the last question can be edited, and not while it is being answered."""
        self._edit.setVisible(last and not streaming)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        widest = min(tokens.BUBBLE, int(self.width() * 0.86)) - 2 * _PADDING
        document = self._text.document().clone()
        document.setTextWidth(widest)
        ideal = math.ceil(document.idealWidth()) + 1
        document.deleteLater()
        self._text.setFixedWidth(max(8, min(widest, ideal)))

    def _copy_text(self) -> None:
        QGuiApplication.clipboard().setText(self._turn.text)
        self._feedback.show()
