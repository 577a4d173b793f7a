"""Says on a button, for a moment, that something was copied."""

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QAbstractButton

from app.ui.widgets.icon_button import IconButton

_MILLISECONDS = 1400


class CopyFeedback(QObject):
    def __init__(self, button: QAbstractButton, text: str) -> None:
        super().__init__(button)
        self._button = button
        self._before = button.text()
        self._done = text
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._restore)

    def show(self) -> None:
        if isinstance(self._button, IconButton):
            self._button.show_icon("check")
        else:
            self._button.setText(self._done)
        self._timer.start(_MILLISECONDS)

    def _restore(self) -> None:
        if isinstance(self._button, IconButton):
            self._button.show_icon("copy")
        else:
            self._button.setText(self._before)
