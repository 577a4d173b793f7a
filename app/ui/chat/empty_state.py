"""What a new chat shows before the first message."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.ui.backend import ModelChoice
from app.ui.chat.suggestions import SHOWN
from app.ui.status import Phase
from app.ui.theme import tokens
from app.ui.theme.theme import Theme
from app.ui.widgets.roles import discard, label

_LEAD_WIDTH = 540
_RUNNING = (Phase.READY, Phase.BUSY)


class EmptyState(QWidget):
    """`asked` carries the suggested question that was chosen."""

    asked = Signal(str)

    def __init__(self, *, theme: Theme, suggestions: Sequence[str]) -> None:
        super().__init__()
        self._suggestions = suggestions[:SHOWN]
        self._buttons: list[QPushButton] = []
        self._lead = label("", "lead", wrap=True)
        self._lead.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._grid = QGridLayout()
        self._grid.setSpacing(10)
        self._arrange(theme)

    def _arrange(self, theme: Theme) -> None:
        picture = QLabel()
        picture.setPixmap(theme.icons.mark(64))
        picture.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        title = label(self.tr("What would you like to know?"), "display")
        title.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        inner = QWidget()
        inner.setMaximumWidth(tokens.COLUMN)
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addStretch(3)
        column.addWidget(picture)
        column.addSpacing(4)
        column.addWidget(title)
        self._lead.setMaximumWidth(_LEAD_WIDTH)
        lead_row = QHBoxLayout()
        lead_row.addWidget(self._lead)
        column.addLayout(lead_row)
        column.addSpacing(16)
        column.addLayout(self._grid)
        column.addStretch(4)
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 0, 24, 0)
        row.addStretch(1)
        row.addWidget(inner, 1000)
        row.addStretch(1)

    def show_model(self, model: ModelChoice | None, phase: Phase) -> None:
        """Fits words and suggestions to `model`, None when there is none, and to what the node does."""
        if model is None and phase is Phase.STARTING:
            self._lead.setText(self.tr("The node is starting…"))
        elif model is None and phase not in _RUNNING:
            self._lead.setText(self.tr("The node is not running."))
        elif model is None:
            self._lead.setText(self.tr("This node has no model yet. Add one with: swarmllm models add FILE"))
        elif model.demonstration:
            self._lead.setText(
                self.tr(
                    "The built-in guide is a tiny demonstration model. It knows a little about SwarmLLM and "
                    "nothing else, and its answers can be wrong."
                )
            )
        else:
            self._lead.setText(self.tr("{model} answers on this computer.").format(model=model.name))
        self._offer(self._suggestions if model is not None and model.demonstration else ())

    def _offer(self, questions: Sequence[str]) -> None:
        if [button.text() for button in self._buttons] == list(questions):
            return
        for button in self._buttons:
            self._grid.removeWidget(button)
            discard(button)
        self._buttons = []
        for index, question in enumerate(questions):
            button = QPushButton(question)
            button.setProperty("role", "suggestion")
            button.setCursor(Qt.CursorShape.PointingHandCursor)
            button.clicked.connect(lambda _checked=False, text=question: self.asked.emit(text))
            self._grid.addWidget(button, index // 2, index % 2)
            self._buttons.append(button)
