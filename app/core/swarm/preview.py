"""What would happen to a request for a model, before anybody sends one."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from app.core.models.fits import MemoryEstimate, estimate_memory
from app.core.models.manifest import Manifest
from app.core.scheduling.planner import plan
from app.core.scheduling.request import Request
from app.core.scheduling.result import NoPlan, Plan
from app.core.scheduling.shape import Segment
from app.core.swarm.local import LocalView, Plannable


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What models get here: `memory` bytes for all, `slots` sequences of `context` tokens for each."""

    memory: int
    context: int
    slots: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Where `request` would run. `memory` is what the whole model takes, `room` what there is for it here."""

    id: str
    name: str
    request: Request
    placement: Plan | NoPlan
    memory: MemoryEstimate
    room: Room

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.room.memory


class Known(Plannable, Protocol):
    @property
    def name(self) -> str: ...


class Manifests(Protocol):
    """The library, as previews use it."""

    def find(self, name: str) -> Known:
        """Raises ModelNotFound."""
        ...

    def manifest(self, model_id: str) -> Manifest: ...


class Running(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


class Previews:
    """Previews of the library's models. `loaded` gives the workers that run, `room` what there is now."""

    def __init__(
        self,
        *,
        view: LocalView,
        library: Manifests,
        loaded: Callable[[], Sequence[Running]],
        room: Callable[[], Room],
    ) -> None:
        self._view = view
        self._library = library
        self._loaded = loaded
        self._room = room

    def of(self, name: str, request: Request | None = None) -> Preview:
        """Raises ModelNotFound."""
        wanted = request or Request()
        model, room = self._library.find(name), self._room()
        manifest = self._library.manifest(model.id)
        facts = manifest.facts
        context = min(room.context, facts.context_length or room.context)
        memory = estimate_memory(facts, weight_bytes=manifest.data_bytes, context=context, slots=room.slots)
        snapshot = self._view.snapshot(model, loaded=self._windows(model))
        return Preview(
            id=model.id,
            name=model.name,
            request=wanted,
            placement=plan(snapshot, wanted),
            memory=memory,
            room=room,
        )

    def _windows(self, model: Known) -> list[Segment]:
        """Windows of the whole model; for others it is not told whether they hold embedding and head."""
        windows = (worker for worker in self._loaded() if worker.model == model.id)
        whole = Segment(first=0, last=model.n_layers, embedding=True, head=True)
        return [whole for window in windows if (window.first, window.last) == (0, model.n_layers)]
