"""Fixtures of the window tests: offscreen Qt, the shipped fonts, and the loop the app runs on."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from app.ui.loop import QtEventLoop


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
