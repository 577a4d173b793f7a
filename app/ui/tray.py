"""The tray icon: the node's state at a glance, and the few things one does without opening a window."""

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from app.ui.backend import Connection
from app.ui.status import NodeStatus, Phase, Status, phase_colour
from app.ui.theme.icons import app_icon, status_icon
from app.ui.theme.theme import Theme

_TRIGGERS = (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick)


class Tray(QObject):
    """Works without a tray on the desktop too: then nothing is shown, and `available` is False."""

    open_asked = Signal()
    quit_asked = Signal()

    def __init__(self, *, status: NodeStatus, theme: Theme) -> None:
        super().__init__()
        self._status = status
        self._theme = theme
        self._connection: Connection | None = None
        self._shown: tuple[Phase, str] | None = None
        self._icon = QSystemTrayIcon(self)
        self._menu = QMenu()
        self._state = QAction(self._menu)
        self._state.setEnabled(False)
        self._menu.addAction(self._state)
        self._menu.addSeparator()
        self._open = self._menu.addAction(self.tr("Open chat"), self.open_asked.emit)
        self._address = self._menu.addAction(self.tr("Copy API address"), self._copy_address)
        self._key = self._menu.addAction(self.tr("Copy API key"), self._copy_key)
        self._menu.addSeparator()
        self._menu.addAction(self.tr("Quit"), self.quit_asked.emit)
        self._menu.setDefaultAction(self._open)
        self._address.setEnabled(False)
        self._key.setVisible(False)
        self._icon.setContextMenu(self._menu)
        self._icon.activated.connect(self._activated)
        self._icon.messageClicked.connect(self.open_asked)
        status.changed.connect(self._draw)
        theme.changed.connect(self._draw)
        self._draw()

    @property
    def available(self) -> bool:
        return QSystemTrayIcon.isSystemTrayAvailable()

    def show(self) -> None:
        """Appears now, or as soon as the desktop has a tray."""
        self._icon.show()

    def hide(self) -> None:
        self._icon.hide()

    def connected(self, connection: Connection) -> None:
        self._connection = connection
        self._address.setEnabled(True)
        self._key.setVisible(bool(connection.api_key))

    def tell(self, title: str, text: str, *, problem: bool = False) -> None:
        """A notification of the desktop, where there is a tray to send it from."""
        if not self._icon.isVisible() or not QSystemTrayIcon.supportsMessages():
            return
        if problem:
            self._icon.showMessage(title, text, QSystemTrayIcon.MessageIcon.Critical)
        else:
            self._icon.showMessage(title, text, app_icon())

    def _draw(self) -> None:
        status = self._status.current
        words = self._words(status)
        self._state.setText(words)
        self._icon.setToolTip(f"SwarmLLM: {words}")
        wanted = (status.phase, self._theme.palette.name)
        if wanted != self._shown:
            self._shown = wanted
            self._icon.setIcon(status_icon(phase_colour(status.phase, self._theme.palette)))

    def _words(self, status: Status) -> str:
        match status.phase:
            case Phase.STARTING:
                return self.tr("Starting…")
            case Phase.STOPPING:
                return self.tr("Stopping…")
            case Phase.ERROR:
                return self.tr("Error - {problem}").format(problem=status.problem)
            case Phase.BUSY:
                return self.tr("Answering - {model}").format(model=status.model)
            case Phase.READY if status.model:
                return self.tr("Ready - {model}").format(model=status.model)
        return self.tr("Ready - no model yet")

    def _activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in _TRIGGERS:
            self.open_asked.emit()

    def _copy_address(self) -> None:
        if self._connection is not None:
            QGuiApplication.clipboard().setText(f"{self._connection.url}/v1")

    def _copy_key(self) -> None:
        if self._connection is not None:
            QGuiApplication.clipboard().setText(self._connection.api_key)
