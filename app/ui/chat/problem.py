"""What went wrong with an answer, in a sentence, with the way on."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from app.ui.theme.theme import Theme
from app.ui.widgets.roles import label


class Problem(QFrame):
    retry_asked = Signal()

    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self.setProperty("role", "problem")
        self._theme = theme
        self._icon = QLabel()
        self._text = label("", "error", wrap=True)
        self._retry = QPushButton(self.tr("Retry"))
        self._retry.clicked.connect(self.retry_asked)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 10, 10, 10)
        row.setSpacing(12)
        row.addWidget(self._icon)
        row.addWidget(self._text, 1)
        row.addWidget(self._retry)
        self._draw()
        theme.changed.connect(self._draw)

    def explain(self, sentence: str, *, can_retry: bool) -> None:
        self._text.setText(sentence)
        self._text.setAccessibleName(self.tr("Error: {sentence}").format(sentence=sentence))
        self._retry.setVisible(can_retry)

    def _draw(self) -> None:
        icon = self._theme.icons.glyph("alert", self._theme.palette.danger, 20)
        self._icon.setPixmap(icon.pixmap(20, 20))
