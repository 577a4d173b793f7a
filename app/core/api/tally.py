"""Counts of the requests that were answered since the start."""

from collections.abc import Callable

import msgspec

from app.core.kernel.events import EventBus, RequestFinished


class Counts(msgspec.Struct, kw_only=True):
    """`outcomes` counts requests by how they ended: "ok", "cancelled" or an error's code."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)


class Tally:
    """Listens to the bus from `subscribe()` on."""

    def __init__(self, *, bus: EventBus) -> None:
        self._bus = bus
        self._counts = Counts()

    def subscribe(self) -> Callable[[], None]:
        """Starts counting; returns the call that ends it."""
        return self._bus.subscribe(RequestFinished, self._finished)

    def counts(self) -> Counts:
        return self._counts

    def _finished(self, event: RequestFinished) -> None:
        counts = self._counts
        counts.requests += 1
        counts.prompt_tokens += event.prompt_tokens
        counts.completion_tokens += event.completion_tokens
        counts.seconds += event.seconds
        counts.outcomes[event.outcome] = counts.outcomes.get(event.outcome, 0) + 1
