"""A block of code: its language, a Copy button, and the text in colours."""

from PySide6.QtGui import QColor, QGuiApplication, QTextCharFormat, QTextCursor, QTextLayout
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout

from app.ui.chat.highlight import Span, spans
from app.ui.theme.theme import Theme, mono
from app.ui.widgets.auto_text import AutoText
from app.ui.widgets.copy import CopyFeedback
from app.ui.widgets.roles import label


class CodeCard(QFrame):
    """`show_code` may be called again while the code grows: only what is new is inserted."""

    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self.setProperty("role", "code")
        self._theme = theme
        self._code = ""
        self._language = ""
        self._painted: list[list[Span]] = []
        self._name = label("", "small")
        self._copy = QPushButton(self.tr("Copy"))
        self._copy.setProperty("role", "quiet")
        self._copy.setAccessibleName(self.tr("Copy code"))
        self._feedback = CopyFeedback(self._copy, self.tr("Copied"))
        self._text = AutoText(mono(), wrap=False)
        self._text.setAccessibleName(self.tr("Code"))
        self._copy.clicked.connect(self._copy_code)
        header = QHBoxLayout()
        header.addWidget(self._name)
        header.addStretch()
        header.addWidget(self._copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 6, 8, 10)
        column.setSpacing(4)
        column.addLayout(header)
        column.addWidget(self._text)
        theme.changed.connect(self._repaint)

    @property
    def code(self) -> str:
        return self._code

    def show_code(self, code: str, language: str) -> None:
        if language != self._language or not self._name.text():
            self._language = language
            self._painted = []
            self._name.setText(language or self.tr("code"))
        if code != self._code or not self._painted:
            self._write(code)
            self._colour()

    def _write(self, code: str) -> None:
        if self._code and code.startswith(self._code):
            cursor = QTextCursor(self._text.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(code[len(self._code) :])
        else:
            self._painted = []
            self._text.setPlainText(code)
        self._code = code

    def _repaint(self) -> None:
        self._painted = []
        self._colour()

    def _colour(self) -> None:
        wanted = spans(self._code, self._language, self._theme.palette.syntax)
        document = self._text.document()
        for number, line in enumerate(wanted):
            if number < len(self._painted) and self._painted[number] == line:
                continue
            block = document.findBlockByNumber(number)
            block.layout().setFormats([_format(span) for span in line])
            document.markContentsDirty(block.position(), block.length())
        self._painted = wanted

    def _copy_code(self) -> None:
        QGuiApplication.clipboard().setText(self._code)
        self._feedback.show()


def _format(span: Span) -> QTextLayout.FormatRange:
    made = QTextLayout.FormatRange()
    made.start = span.start
    made.length = span.length
    colours = QTextCharFormat()
    colours.setForeground(QColor(span.colour))
    made.format = colours
    return made
