"""What the fleet knows of each worker."""

import asyncio

import msgspec

from app.core.engine.limits import Plan
from app.core.engine.worker_link import WorkerLink
from app.core.kernel.window import Window


class Key(msgspec.Struct, frozen=True):
    """What a worker serves: a part of a model, wherever its files lie."""

    model: str
    first: int
    last: int
    takes: str
    gives: str


class Entry:
    """One worker, from the decision to start it until it is gone.

    `leases` are requests in its care, `wanted` those that wait for it to make room. `reason` is set when
    it is being ended.
    """

    def __init__(
        self, *, key: Key, window: Window, size: int, link: WorkerLink, plan: Plan, now: float
    ) -> None:
        self.key = key
        self.size = size
        self.window = window
        self.link = link
        self.plan = plan
        self.leases = 0
        self.wanted = 0
        self.last_used = now
        self.reason: str | None = None
        self.started: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.started is not None and self.started.done() and self.link.alive

    @property
    def dying(self) -> bool:
        """It was loaded, but its process is gone or going."""
        return self.started is not None and self.started.done() and not self.link.alive

    @property
    def idle(self) -> bool:
        """Nobody needs it now. The state of sequences would be lost with it, so they count as use."""
        return self.leases == 0 and not self.link.sequences


def key_of(model: str, window: Window) -> Key:
    return Key(model, window.first, window.last, window.takes, window.gives)
