"""The node's state in a line: a coloured dot and words, which do not depend on the colour."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.ui.status import Phase, Status, phase_colour
from app.ui.theme.theme import Theme
from app.ui.widgets.icon_button import IconButton
from app.ui.widgets.roles import label

_DOT = 8


class StatusLine(QWidget):
    """`warnings_asked` is emitted by the button that shows while the node has warnings."""

    warnings_asked = Signal()

    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._status = Status()
        self._dot = QLabel()
        self._state = label("", "small")
        self._note = label("", "small", wrap=True)
        self._note.hide()
        self._alert = IconButton("alert", self.tr("The node has a warning"), theme=theme, colour="link")
        self._alert.clicked.connect(self.warnings_asked)
        self._alert.hide()
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._dot)
        row.addWidget(self._state, 1)
        row.addWidget(self._alert)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self._note)
        self._draw()
        theme.changed.connect(self._draw)

    def show_status(self, status: Status) -> None:
        self._status = status
        self.setToolTip(status.problem or status.url)
        self._alert.setVisible(bool(status.warnings))
        self._draw()

    def show_note(self, note: str) -> None:
        """A sentence below the state, hidden when empty."""
        self._note.setText(note)
        self._note.setVisible(bool(note))

    def _draw(self) -> None:
        self._state.setText(self._words())
        self.setAccessibleName(self._state.text())
        scale = 2
        pixmap = QPixmap(_DOT * scale, _DOT * scale)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(phase_colour(self._status.phase, self._theme.palette)))
        painter.drawEllipse(0, 0, _DOT * scale, _DOT * scale)
        painter.end()
        pixmap.setDevicePixelRatio(scale)
        self._dot.setPixmap(pixmap)

    def _words(self) -> str:
        address = self._status.url.removeprefix("http://")
        return {
            Phase.STARTING: self.tr("Starting…"),
            Phase.READY: self.tr("Ready  ·  {address}").format(address=address),
            Phase.BUSY: self.tr("Answering  ·  {address}").format(address=address),
            Phase.STOPPING: self.tr("Stopping…"),
            Phase.ERROR: self.tr("Not answering"),
        }[self._status.phase]
