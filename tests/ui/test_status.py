"""The node's state as the windows know it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from PySide6.QtWidgets import QApplication

from app.ui import status as status_module
from app.ui.backend import AnswerPart, BackendError, ModelChoice, NodeState, Said
from app.ui.loop import QtEventLoop
from app.ui.status import NodeStatus, Phase


class Moody:
    """A backend that fails every other time."""

    def __init__(self) -> None:
        self.asked = 0

    async def models(self) -> tuple[ModelChoice, ...]:
        return ()

    async def state(self) -> NodeState:
        self.asked += 1
        if self.asked % 2:
            raise BackendError("The node at http://127.0.0.1:8800 did not answer in time.")
        return NodeState(warnings=("Keys lie in plain files.",))

    async def answer(
        self, *, model: str, said: Sequence[Said], session: str
    ) -> AsyncGenerator[AnswerPart, None]:
        return
        yield


def test_a_node_that_falls_silent_and_comes_back_is_seen(
    loop: QtEventLoop, application: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "POLL_SECONDS", 0.01)

    async def run() -> list[tuple[Phase, str]]:
        status = NodeStatus()
        seen: list[tuple[Phase, str]] = []
        status.changed.connect(lambda: seen.append((status.current.phase, status.current.problem)))
        status.connected("http://127.0.0.1:8800")
        watching = asyncio.create_task(status.watch(Moody()))
        while len(seen) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert status.current.warnings == ("Keys lie in plain files.",)
        return seen[:4]

    silent = "The node at http://127.0.0.1:8800 did not answer in time."
    assert loop.run_until_complete(run()) == [
        (Phase.READY, ""),
        (Phase.ERROR, silent),
        (Phase.READY, ""),
        (Phase.ERROR, silent),
    ]


def test_nothing_is_told_when_nothing_changed(application: QApplication) -> None:
    status = NodeStatus()
    told: list[bool] = []
    status.changed.connect(lambda: told.append(True))
    status.serves("a")
    status.serves("a")
    status.answering(0)
    assert told == [True]
