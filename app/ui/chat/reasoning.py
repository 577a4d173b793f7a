"""What the model thought before it answered, folded away until asked for."""

from PySide6.QtCore import QLocale, QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.ui.chat.model import Turn
from app.ui.chat.prose import Prose
from app.ui.theme.theme import Theme
from app.ui.widgets.roles import frame


class Reasoning(QWidget):
    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._text = ""
        self._toggle = QPushButton()
        self._toggle.setProperty("role", "quiet")
        self._toggle.setCheckable(True)
        self._toggle.setIconSize(QSize(12, 12))
        self._toggle.setCursor(Qt.CursorShape.PointingHandCursor)
        self._toggle.toggled.connect(self._unfold)
        self._body = frame("aside")
        self._prose: Prose | None = None
        row = QHBoxLayout()
        row.addWidget(self._toggle)
        row.addStretch()
        self._inside = QVBoxLayout(self._body)
        self._inside.setContentsMargins(14, 4, 0, 4)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(row)
        column.addWidget(self._body)
        self._body.hide()
        self._draw()
        theme.changed.connect(self._draw)

    def show_turn(self, turn: Turn, *, thinking: bool) -> None:
        self._text = turn.reasoning
        if thinking:
            self._toggle.setText(self.tr("Thinking…"))
        else:
            seconds = QLocale().toString(turn.reasoning_seconds, "f", 1)
            self._toggle.setText(self.tr("Thought for {seconds} s").format(seconds=seconds))
        if self._prose is not None and self._toggle.isChecked():
            self._prose.show_markdown(self._text)

    def _unfold(self, open_: bool) -> None:
        if self._prose is None:
            self._prose = Prose(theme=self._theme, muted=True)
            self._inside.addWidget(self._prose)
        self._prose.show_markdown(self._text)
        self._body.setVisible(open_)
        self._draw()

    def _draw(self) -> None:
        icon = "chevron-down" if self._toggle.isChecked() else "chevron-right"
        self._toggle.setIcon(self._theme.icons.glyph(icon, self._theme.palette.muted, 12))
