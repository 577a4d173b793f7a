"""What the tray says and does."""

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QSystemTrayIcon

from app.ui.backend import Connection
from app.ui.status import NodeStatus
from app.ui.theme.theme import Theme
from app.ui.tray import Tray


@pytest.fixture
def status(application: QApplication) -> NodeStatus:
    return NodeStatus()


@pytest.fixture
def tray(status: NodeStatus, theme: Theme) -> Tray:
    return Tray(status=status, theme=theme)


def entries(tray: Tray) -> list[str]:
    return [action.text() for action in tray._menu.actions() if action.isVisible() and action.text()]


def test_the_first_line_follows_the_state(tray: Tray, status: NodeStatus) -> None:
    said = [entries(tray)[0]]
    icons = [tray._icon.icon().cacheKey()]
    for step in (
        lambda: status.connected("http://127.0.0.1:8800"),
        lambda: status.serves("swarmllm-guide"),
        lambda: status.answering(1),
        lambda: status.answering(0),
        lambda: status.fails("The disk is full."),
        status.stopping,
    ):
        step()
        said.append(entries(tray)[0])
        icons.append(tray._icon.icon().cacheKey())
    assert said == [
        "Starting…",
        "Ready - no model yet",
        "Ready - swarmllm-guide",
        "Answering - swarmllm-guide",
        "Ready - swarmllm-guide",
        "Error - The disk is full.",
        "Stopping…",
    ]
    assert tray._icon.toolTip() == "SwarmLLM: Stopping…"
    assert icons[1] == icons[2]
    assert len(set(icons)) == len(icons) - 1


def test_address_and_key_are_copied_once_there_is_a_node(tray: Tray) -> None:
    assert entries(tray)[1:] == ["Open chat", "Copy API address", "Quit"]
    assert not tray._address.isEnabled()
    tray.connected(Connection(url="http://127.0.0.1:8800", token="t", api_key="k" * 64))
    tray._address.trigger()
    assert QGuiApplication.clipboard().text() == "http://127.0.0.1:8800/v1"
    tray._key.trigger()
    assert QGuiApplication.clipboard().text() == "k" * 64


def test_without_a_key_there_is_no_entry_for_it(tray: Tray) -> None:
    tray.connected(Connection(url="http://127.0.0.1:8800", token="t"))
    assert "Copy API key" not in entries(tray)


def test_a_left_click_opens_the_chat(tray: Tray) -> None:
    opened: list[bool] = []
    tray.open_asked.connect(lambda: opened.append(True))
    tray._icon.activated.emit(QSystemTrayIcon.ActivationReason.Trigger)
    tray._icon.activated.emit(QSystemTrayIcon.ActivationReason.Context)
    assert opened == [True]
