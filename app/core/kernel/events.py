"""The internal bus: parts tell what happened without knowing who listens.

Delivery is synchronous and in order, on the loop's thread. A listener that raises is the bus's
`on_error` caller's business and never the publisher's. Events are frozen msgspec structs.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

E = TypeVar("E", bound=msgspec.Struct)


class RequestFinished(msgspec.Struct, frozen=True, kw_only=True):
    """An inference request ended. `outcome` is "ok", "cancelled" or an error's code."""

    model: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    outcome: str


class ModelLoading(msgspec.Struct, frozen=True, kw_only=True):
    """A worker is loading a model; `fraction` runs from 0 to 1."""

    model: str
    fraction: float


class ModelLoaded(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    memory_bytes: int
    seconds: float


class ModelUnloaded(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is "asked", "evicted", "idle", "crashed" or "stopped"."""

    model: str
    reason: str


class ModelsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The library's contents changed."""


class DownloadChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A download went on, was paused, failed or ended.

    `state` is "queued", "running", "paused", "done", "failed" or "cancelled", `phase` what a running one is
    doing. `seconds_left` is None while nobody can tell; `model_id` is set when it is done.
    """

    id: str
    name: str
    state: str
    phase: str
    done_bytes: int
    total_bytes: int
    bytes_per_second: float
    seconds_left: float | None
    problem: str
    model_id: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should be told. `level` is "info", "warning" or "error"."""

    level: str
    message: str


class EventBus:
    """Typed publish and subscribe."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._listeners: dict[type[msgspec.Struct], list[Callable[[Any], None]]] = defaultdict(list)
        self._on_error = on_error

    def subscribe(self, kind: type[E], listener: Callable[[E], None]) -> Callable[[], None]:
        """Calls `listener` for each event of exactly `kind`; returns the call that ends it."""
        listeners = self._listeners[kind]
        listeners.append(listener)

        def unsubscribe() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return unsubscribe

    def publish(self, event: msgspec.Struct) -> None:
        for listener in tuple(self._listeners.get(type(event), ())):
            try:
                listener(event)
            except Exception as error:
                self._on_error(error)
