"""A read-only text that is exactly as high as its contents, for use inside a scroll area.

What it shows comes from models and files of others: it loads nothing by itself, neither from disk nor
from the network, and opens only web and mail links, in the user's browser.
"""

import math

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QFont, QWheelEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser, QTextEdit

_SCHEMES = ("http", "https", "mailto")


class AutoText(QTextBrowser):
    """`wrap` False lets long lines scroll sideways."""

    def __init__(self, font: QFont, *, wrap: bool = True) -> None:
        super().__init__()
        self._wrap = wrap
        self._height = -1
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFont(font)
        self.setTabChangesFocus(True)
        self.setOpenLinks(False)
        self.anchorClicked.connect(self._open)
        self.document().setDefaultFont(font)
        self.document().setDocumentMargin(0)
        self.document().setUndoRedoEnabled(False)
        self.viewport().setAutoFillBackground(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        if wrap:
            self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        else:
            self.setLineWrapMode(QTextEdit.LineWrapMode.NoWrap)
            self.horizontalScrollBar().rangeChanged.connect(self._fit)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)

    def loadResource(self, _kind: int, _name: QUrl | str) -> object:  # noqa: N802
        return None

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Vertical scrolling belongs to the conversation."""
        sideways = abs(event.angleDelta().x()) > abs(event.angleDelta().y())
        if sideways and not self._wrap:
            super().wheelEvent(event)
        else:
            event.ignore()

    def _fit(self, *_: object) -> None:
        height = math.ceil(self.document().size().height())
        if not self._wrap and self.horizontalScrollBar().maximum() > 0:
            height += self.horizontalScrollBar().sizeHint().height()
        if height != self._height:
            self._height = height
            self.setFixedHeight(height)

    def _open(self, url: QUrl) -> None:
        if url.scheme().lower() in _SCHEMES:
            QDesktopServices.openUrl(url)
