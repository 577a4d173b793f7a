"""Three dots that say that something is on its way."""

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from app.ui.theme.theme import Theme

_STEP_MS = 320
_DOTS = 3


class Pulse(QWidget):
    """Moves only while it is visible."""

    def __init__(self, label: str, *, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._step = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._advance)
        self.setFixedSize(QSize(40, 20))
        self.setAccessibleName(label)

    def showEvent(self, _event: object) -> None:  # noqa: N802
        self._timer.start(_STEP_MS)

    def hideEvent(self, _event: object) -> None:  # noqa: N802
        self._timer.stop()

    def _advance(self) -> None:
        self._step = (self._step + 1) % _DOTS
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        for dot in range(_DOTS):
            colour = QColor(self._theme.palette.muted)
            colour.setAlphaF(1.0 if dot == self._step else 0.4)
            painter.setBrush(colour)
            painter.drawEllipse(1 + dot * 12, 6, 7, 7)
        painter.end()
