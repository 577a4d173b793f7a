"""The chats of this node: start, find, rename, delete; and the state of the node below them."""

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.ui.chat.model import Chat, matches
from app.ui.theme import tokens
from app.ui.theme.theme import Theme
from app.ui.widgets.status_line import StatusLine

_ID = Qt.ItemDataRole.UserRole


class _List(QListWidget):
    rename_asked = Signal()
    delete_asked = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() == Qt.Key.Key_F2:
            self.rename_asked.emit()
        elif event.key() == Qt.Key.Key_Delete:
            self.delete_asked.emit()
        else:
            super().keyPressEvent(event)


class Sidebar(QWidget):
    """Signals carry the id of the chat they are about."""

    new_asked = Signal()
    opened = Signal(str)
    renamed = Signal(str, str)
    delete_asked = Signal(str)

    def __init__(self, *, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._chats: Sequence[Chat] = ()
        self._current = ""
        self._filling = False
        self._listed: tuple[list[tuple[str, str]], str] = ([], "")
        self._new = QPushButton(self.tr("New chat"))
        self._new.setProperty("role", "wide")
        self._new.setIconSize(QSize(16, 16))
        self._new.setToolTip(self.tr("New chat (Ctrl+N)"))
        self._new.clicked.connect(self.new_asked)
        self._search = QLineEdit()
        self._search.setPlaceholderText(self.tr("Search chats"))
        self._search.setAccessibleName(self.tr("Search chats"))
        self._search.setToolTip(self.tr("Search chats (Ctrl+F)"))
        self._search.setClearButtonEnabled(True)
        self._search.textChanged.connect(self._fill)
        self.status = StatusLine(theme=theme)
        self._list = _List()
        self._prepare_list()
        self._arrange()
        self._draw()
        theme.changed.connect(self._draw)

    def _prepare_list(self) -> None:
        chats = self._list
        chats.setAccessibleName(self.tr("Chats"))
        chats.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        chats.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        chats.setTextElideMode(Qt.TextElideMode.ElideRight)
        chats.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        chats.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        chats.customContextMenuRequested.connect(self._show_menu)
        chats.currentItemChanged.connect(self._chosen)
        chats.itemChanged.connect(self._edited)
        chats.rename_asked.connect(self._rename)
        chats.delete_asked.connect(self._delete)

    def _arrange(self) -> None:
        self.setProperty("role", "sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedWidth(tokens.SIDEBAR)
        foot = QHBoxLayout()
        foot.setContentsMargins(8, 4, 8, 4)
        foot.addWidget(self.status, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 14, 12, 10)
        column.setSpacing(10)
        column.addWidget(self._new)
        column.addWidget(self._search)
        column.addWidget(self._list, 1)
        column.addLayout(foot)

    def show_chats(self, chats: Sequence[Chat], current: str) -> None:
        """Lists `chats` in the given order; `current` may be a chat that is not listed yet."""
        self._chats = chats
        self._current = current
        self._fill()

    def focus_search(self) -> None:
        self._search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._search.selectAll()

    def _fill(self) -> None:
        found = [chat for chat in self._chats if matches(chat, self._search.text())]
        wanted = ([(chat.id, chat.title) for chat in found], self._current)
        if wanted == self._listed:
            return
        self._listed = wanted
        self._filling = True
        self._list.clear()
        for chat in found:
            item = QListWidgetItem(chat.title or self.tr("New chat"))
            item.setData(_ID, chat.id)
            item.setToolTip(chat.title)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self._list.addItem(item)
            if chat.id == self._current:
                self._list.setCurrentItem(item)
        self._filling = False

    def _chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None and not self._filling:
            self.opened.emit(item.data(_ID))

    def _edited(self, item: QListWidgetItem) -> None:
        if not self._filling:
            self._listed = ([], "")
            self.renamed.emit(item.data(_ID), item.text().strip())

    def _rename(self) -> None:
        if (item := self._list.currentItem()) is not None:
            self._list.editItem(item)

    def _delete(self) -> None:
        if (item := self._list.currentItem()) is not None:
            self.delete_asked.emit(item.data(_ID))

    def _show_menu(self, where: QPoint) -> None:
        item = self._list.itemAt(where)
        if item is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        icons, colour = self._theme.icons, self._theme.palette.muted
        rename = menu.addAction(icons.glyph("pencil", colour), self.tr("Rename"))
        rename.triggered.connect(lambda: self._list.editItem(item))
        delete = menu.addAction(icons.glyph("trash", colour), self.tr("Delete…"))
        delete.triggered.connect(lambda: self.delete_asked.emit(item.data(_ID)))
        menu.popup(self._list.viewport().mapToGlobal(where))

    def _draw(self) -> None:
        self._new.setIcon(self._theme.icons.glyph("plus", self._theme.palette.text))
