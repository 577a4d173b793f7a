"""Fixtures of the window tests: offscreen Qt, the shipped fonts, and the loop the app runs on."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from app.ui.loop import QtEventLoop
from app.ui.theme.theme import Theme


@pytest.fixture(scope="session")
def application(qapp: QApplication) -> QApplication:
    qapp.setQuitOnLastWindowClosed(False)
    return qapp


@pytest.fixture
def loop(application: QApplication) -> Iterator[QtEventLoop]:
    event_loop = QtEventLoop(application)
    yield event_loop
    event_loop.run_until_complete(event_loop.shutdown_asyncgens())
    event_loop.close()


@pytest.fixture(scope="session")
def styled(application: QApplication) -> Theme:
    made = Theme(application, "dark")
    made.install()
    return made


@pytest.fixture
def theme(styled: Theme) -> Iterator[Theme]:
    yield styled
    styled.choose("dark")
