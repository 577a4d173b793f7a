"""Small helpers to build labelled, styled widgets in one line."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QWidget


def label(text: str, role: str, *, wrap: bool = False) -> QLabel:
    """A label with the look `role` of the style sheet; plain text, never HTML."""
    made = QLabel()
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setText(text)
    made.setWordWrap(wrap)
    made.setProperty("role", role)
    return made


def frame(role: str) -> QFrame:
    made = QFrame()
    made.setProperty("role", role)
    return made


def set_property(widget: QWidget, name: str, value: str) -> None:
    """Sets a property that the style sheet looks at, and applies it."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def discard(widget: QWidget) -> None:
    """Removes `widget` at once from sight: one that only waits for `deleteLater` would still be painted."""
    widget.hide()
    widget.deleteLater()
