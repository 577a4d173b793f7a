"""Where the user writes: grows with the text, Enter sends, Shift+Enter breaks the line."""

from PySide6.QtCore import QMimeData, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from app.ui.theme import tokens
from app.ui.theme.theme import Theme, sans
from app.ui.widgets.icon_button import IconButton
from app.ui.widgets.roles import label, set_property

_MAX_LINES = 9
_MAX_CHARACTERS = 400_000
_SEND_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class _Input(QPlainTextEdit):
    send_asked = Signal()
    recall_asked = Signal()
    focus_changed = Signal(bool)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if event.key() in _SEND_KEYS and not shifted:
            self.send_asked.emit()
        elif event.key() == Qt.Key.Key_Up and not self.toPlainText():
            self.recall_asked.emit()
        else:
            super().keyPressEvent(event)

    def insertFromMimeData(self, source: QMimeData) -> None:  # noqa: N802
        room = _MAX_CHARACTERS - self.document().characterCount()
        if source.hasText():
            self.insertPlainText(source.text()[: max(0, room)])

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusInEvent(event)
        self.focus_changed.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802
        super().focusOutEvent(event)
        self.focus_changed.emit(False)


class Composer(QWidget):
    """`sent` carries the text; with `editing` it replaces the last question."""

    sent = Signal(str)
    stop_asked = Signal()
    recall_asked = Signal()

    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self._busy = False
        self._ready = False
        self._editing = False
        self._input = _Input()
        self._button = IconButton(
            "send", self.tr("Send"), theme=theme, colour="on_accent", size=18, role="send"
        )
        self._hint = label("", "small")
        self._banner = QWidget()
        self._prepare_input()
        self._arrange()
        self._update()

    def _prepare_input(self) -> None:
        field = self._input
        field.setFont(sans(tokens.TEXT_BODY))
        field.setFrameShape(QFrame.Shape.NoFrame)
        field.setTabChangesFocus(True)
        field.setAccessibleName(self.tr("Message"))
        field.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        field.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        field.document().setDocumentMargin(0)
        field.textChanged.connect(self._update)
        field.document().documentLayout().documentSizeChanged.connect(self._fit)
        field.send_asked.connect(self._send)
        field.recall_asked.connect(self.recall_asked)

    def _arrange(self) -> None:
        self._box = QFrame()
        self._box.setProperty("role", "composer")
        self._input.focus_changed.connect(self._show_focus)
        self._button.setFixedSize(QSize(32, 32))
        self._button.clicked.connect(self._act)
        self._arrange_banner()
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self._input, 1)
        row.addWidget(self._button, 0, Qt.AlignmentFlag.AlignBottom)
        inside = QVBoxLayout(self._box)
        inside.setContentsMargins(18, 10, 10, 10)
        inside.setSpacing(6)
        inside.addWidget(self._banner)
        inside.addLayout(row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._box)
        column.addWidget(self._hint, 0, Qt.AlignmentFlag.AlignHCenter)
        self._fit()

    def _arrange_banner(self) -> None:
        cancel = QPushButton(self.tr("Cancel"))
        cancel.setProperty("role", "quiet")
        cancel.clicked.connect(self.escape)
        row = QHBoxLayout(self._banner)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label(self.tr("Editing your last message; the answer is written anew"), "small"))
        row.addStretch()
        row.addWidget(cancel)
        self._banner.hide()

    @property
    def text(self) -> str:
        return self._input.toPlainText()

    @property
    def editing(self) -> bool:
        return self._editing

    def focus(self) -> None:
        self._input.setFocus(Qt.FocusReason.OtherFocusReason)

    def set_ready(self, ready: bool, placeholder: str) -> None:
        """Without a node and a model nothing can be sent; what was typed stays."""
        self._ready = ready
        if placeholder != self._input.placeholderText():
            self._input.setPlaceholderText(placeholder)
            self._input.viewport().update()
        self._update()

    def set_busy(self, busy: bool) -> None:
        self._busy = busy
        self._update()

    def edit(self, text: str) -> None:
        """Puts `text` in place, to replace the last question."""
        self._editing = True
        self._banner.show()
        self._fill(text)

    def clear(self) -> None:
        self._editing = False
        self._banner.hide()
        self._input.clear()

    def _fill(self, text: str) -> None:
        self._input.setPlainText(text)
        self._input.moveCursor(self._input.textCursor().MoveOperation.End)
        self.focus()

    def _act(self) -> None:
        if self._busy:
            self.stop_asked.emit()
        else:
            self._send()

    def _send(self) -> None:
        if self._ready and not self._busy and self.text.strip():
            self.sent.emit(self.text)

    def escape(self) -> None:
        """Ends what is going on: the answer, else the editing."""
        if self._busy:
            self.stop_asked.emit()
        elif self._editing:
            self.clear()

    def _update(self) -> None:
        self._button.show_icon("stop" if self._busy else "send")
        self._button.describe(self.tr("Stop (Esc)") if self._busy else self.tr("Send (Enter)"))
        self._button.setEnabled(self._busy or (self._ready and bool(self.text.strip())))
        if self._busy:
            self._hint.setText(self.tr("Esc stops the answer"))
        else:
            self._hint.setText(self.tr("Enter sends  ·  Shift+Enter starts a new line"))

    def _show_focus(self, focused: bool) -> None:
        set_property(self._box, "active", "true" if focused else "false")

    def _fit(self, *_: object) -> None:
        """A plain text document measures its height in lines."""
        lines = min(_MAX_LINES, max(1, int(self._input.document().size().height())))
        height = lines * self._input.fontMetrics().lineSpacing() + 12
        self._input.setViewportMargins(0, 6, 0, 4)
        self._input.setFixedHeight(max(32, height))
        policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        if lines == _MAX_LINES:
            policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self._input.setVerticalScrollBarPolicy(policy)
