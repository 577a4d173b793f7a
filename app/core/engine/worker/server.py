"""The worker's loop: commands between ticks, a tick of every kind of work that there is, reports out."""

import gc
import logging

from app.core.engine.messages import Command, Load, Loaded, Ping, Pong
from app.core.engine.worker.desk import Desk
from app.core.engine.worker.link import Link
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.loading import load_window
from app.core.engine.worker.reports import failed
from app.core.kernel.errors import InvalidRequest, SwarmError

log = logging.getLogger(__name__)

_COMMANDS_A_TICK = 256
_GC_THRESHOLD = 50_000


class Server:
    """Serves one window, from its Load on."""

    def __init__(self, *, link: Link, logs: LogRoute) -> None:
        self._link = link
        self._logs = logs

    def run(self) -> int:
        """Answers the exit code where loading failed; else ends with the process."""
        load = self._await_load()
        try:
            runtime = load_window(load, link=self._link, logs=self._logs)
        except SwarmError as error:
            self._link.put(failed(0, error))
            self._link.flush()
            return 1
        desk = Desk(runtime, link=self._link)
        self._link.put(Loaded(info=desk.info(), warning=runtime.warning))
        self._link.flush()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        while True:
            self._take_commands(desk)
            desk.work()
            self._link.flush()

    def _await_load(self) -> Load:
        while True:
            incoming = self._link.receive(timeout=None)
            if incoming is None:
                continue
            command = incoming[0]
            if isinstance(command, Load):
                return command
            self._refuse(command, InvalidRequest("The worker has no model yet."))
            self._link.flush()

    def _take_commands(self, desk: Desk) -> None:
        """Handles what has come; waits for it only where there is nothing else to do."""
        timeout = 0.0 if desk.busy else desk.idle_wait()
        for _ in range(_COMMANDS_A_TICK):
            incoming = self._link.receive(timeout=timeout)
            if incoming is None:
                return
            self._handle(desk, *incoming)
            timeout = 0.0

    def _handle(self, desk: Desk, command: Command, payload: bytearray) -> None:
        try:
            desk.handle(command, payload)
        except SwarmError as error:
            self._refuse(command, error)
        except Exception:
            log.exception("handling %s failed", type(command).__name__)
            self._refuse(command, SwarmError("The worker failed to handle this request."))

    def _refuse(self, command: Command, error: SwarmError) -> None:
        request = getattr(command, "request", None)
        if isinstance(command, Ping):
            self._link.put(_empty_pong(command))
        elif request is not None:
            self._link.put(failed(request, error))


def _empty_pong(ping: Ping) -> Pong:
    return Pong(
        request=ping.request,
        busy_slots=0,
        waiting=0,
        sequences=0,
        cache_entries=0,
        cache_bytes=0,
        resident_bytes=0,
    )
