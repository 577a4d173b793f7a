"""What the node is doing, as the tray and the windows show it."""

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QObject, Signal

from app.ui.backend import Backend, BackendError
from app.ui.theme.tokens import Palette

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    STOPPING = "stopping"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Status:
    """`problem` is the sentence of phase ERROR; `warnings` are sentences of the node."""

    phase: Phase = Phase.STARTING
    model: str = ""
    url: str = ""
    problem: str = ""
    warnings: tuple[str, ...] = ()


def phase_colour(phase: Phase, palette: Palette) -> str:
    return {
        Phase.READY: palette.good,
        Phase.BUSY: palette.busy,
        Phase.ERROR: palette.danger,
    }.get(phase, palette.muted)


class NodeStatus(QObject):
    """The one place that knows the state; `changed` tells of another one."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._status = Status()
        self._answering = 0
        self._warnings: tuple[str, ...] = ()
        self._model = ""
        self._url = ""
        self._problem = ""
        self._stopping = False

    @property
    def current(self) -> Status:
        return self._status

    def connected(self, url: str) -> None:
        self._url = url
        self._update()

    def serves(self, model: str) -> None:
        self._model = model
        self._update()

    def answering(self, count: int) -> None:
        """`count` chats of this window are being answered."""
        self._answering = count
        self._update()

    def fails(self, problem: str) -> None:
        self._problem = problem
        self._update()

    def stopping(self) -> None:
        self._stopping = True
        self._update()

    async def watch(self, backend: Backend) -> None:
        """Asks the node again and again; returns only when cancelled."""
        while True:
            try:
                self._warnings = (await backend.state()).warnings
                self._problem = ""
            except BackendError as error:
                log.warning("The node does not tell its state: %s", error)
                self._problem = str(error)
            self._update()
            await asyncio.sleep(POLL_SECONDS)

    def _update(self) -> None:
        status = Status(
            phase=self._phase(),
            model=self._model,
            url=self._url,
            problem=self._problem,
            warnings=self._warnings,
        )
        if status != self._status:
            self._status = status
            self.changed.emit()

    def _phase(self) -> Phase:
        if self._stopping:
            return Phase.STOPPING
        if self._problem:
            return Phase.ERROR
        if not self._url:
            return Phase.STARTING
        return Phase.BUSY if self._answering else Phase.READY
