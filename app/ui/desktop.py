"""Tray and window together: what opening, closing and quitting mean on this desktop."""

import asyncio
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QMessageBox

from app.ui.backend import Connection
from app.ui.chat.desk import Desk
from app.ui.chat.window import ChatWindow
from app.ui.status import NodeStatus, Phase
from app.ui.theme.theme import Theme
from app.ui.tray import Tray


class Desktop(QObject):
    """With a tray, closing the window leaves the node running; without one, it asks to quit."""

    def __init__(
        self,
        *,
        desk: Desk,
        status: NodeStatus,
        theme: Theme,
        suggestions: Sequence[str],
        leave: Callable[[], None],
    ) -> None:
        super().__init__()
        self._leave = leave
        self._told_of_tray = False
        self._asking: QMessageBox | None = None
        self._status = status
        self._last_problem = ""
        self.tray = Tray(status=status, theme=theme)
        self.window = ChatWindow(desk=desk, status=status, theme=theme, suggestions=suggestions)
        self.tray.open_asked.connect(self.open)
        self.tray.quit_asked.connect(leave)
        self.window.close_asked.connect(self._close_window)
        self.window.sidebar.status.warnings_asked.connect(self._show_warnings)
        desk.answering_changed.connect(status.answering)
        desk.failed.connect(self._tell)
        desk.troubled.connect(self._show_trouble)
        status.changed.connect(self._watch_status)

    def show(self) -> None:
        self.tray.show()
        self.open()

    def open(self) -> None:
        self._explain_tray()
        self.window.open()

    def connected(self, connection: Connection) -> None:
        self.tray.connected(connection)

    def close(self) -> None:
        """Takes everything off the screen."""
        self.tray.hide()
        self.window.hide()
        self.window.deleteLater()

    async def explain_failure(self, problem: str, *, started: bool) -> None:
        """Shows why the node did not start, or has ended after it `started`, until the user has read it."""
        read = asyncio.Event()
        box = self._box(QMessageBox.Icon.Critical, self.tr("SwarmLLM cannot run"))
        box.setText(self.tr("The node has ended.") if started else self.tr("The node could not be started."))
        box.setInformativeText(problem)
        box.addButton(QMessageBox.StandardButton.Close)
        box.finished.connect(lambda _result: read.set())
        self.window.show()
        box.open()
        await read.wait()

    def _explain_tray(self) -> None:
        note = ""
        if not self.tray.available:
            note = self.tr("This desktop has no tray: closing this window quits SwarmLLM.")
        self.window.sidebar.status.show_note(note)

    def _close_window(self) -> None:
        if self.tray.available:
            self.window.hide()
            if not self._told_of_tray:
                self._told_of_tray = True
                title = self.tr("SwarmLLM keeps running")
                self.tray.tell(title, self.tr("Programs can go on using it. Quit it from this icon's menu."))
        else:
            self._ask_to_quit()

    def _ask_to_quit(self) -> None:
        if self._asking is not None:
            return
        box = self._box(QMessageBox.Icon.Question, self.tr("Quit SwarmLLM"))
        box.setText(self.tr("Quit SwarmLLM?"))
        box.setInformativeText(
            self.tr("This desktop has no tray, so closing the window ends the node for other programs too.")
        )
        leave = box.addButton(self.tr("Quit"), QMessageBox.ButtonRole.AcceptRole)
        minimize = box.addButton(self.tr("Minimize"), QMessageBox.ButtonRole.ActionRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(leave)
        leave.clicked.connect(self._leave)
        minimize.clicked.connect(self.window.showMinimized)
        box.finished.connect(self._asked)
        self._asking = box
        box.open()

    def _asked(self, _result: int) -> None:
        self._asking = None

    def _box(self, icon: QMessageBox.Icon, title: str) -> QMessageBox:
        box = QMessageBox(self.window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(icon)
        box.setWindowTitle(title)
        box.setTextFormat(Qt.TextFormat.PlainText)
        return box

    def _tell(self, problem: str) -> None:
        """Problems of a chat are in its window; a notification only if that is not looked at."""
        if not self.window.isActiveWindow():
            self.tray.tell(self.tr("SwarmLLM has a problem"), problem, problem=True)

    def _show_warnings(self) -> None:
        box = self._box(QMessageBox.Icon.Warning, self.tr("Warnings of the node"))
        box.setText(self.tr("The node works, but you should know:"))
        box.setInformativeText("\n\n".join(self._status.current.warnings))
        box.addButton(QMessageBox.StandardButton.Close)
        box.open()

    def _show_trouble(self, trouble: str) -> None:
        self.window.sidebar.status.show_note(trouble)
        self._tell(trouble)

    def _watch_status(self) -> None:
        status = self._status.current
        problem = status.problem if status.phase is Phase.ERROR else ""
        if problem and problem != self._last_problem:
            self._tell(problem)
        self._last_problem = problem
