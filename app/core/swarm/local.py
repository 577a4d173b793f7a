"""What this node could do with its models, in the scheduler's terms, and how fast it has been."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from app.core.kernel.generation import Usage
from app.core.models.architectures import architecture_of
from app.core.scheduling.averages import Speeds
from app.core.scheduling.planner import plan
from app.core.scheduling.request import Request
from app.core.scheduling.result import NoPlan, Plan
from app.core.scheduling.shape import ModelShape, Segment
from app.core.scheduling.snapshot import Holding, Peer, Snapshot

HERE: Final = "this node"
MOST_PLANS: Final = 1024
"""Models whose plans are kept; a library with more of them plans some anew."""

Version = tuple[int, bool, int]


class Shard(Protocol):
    """A file of a model. `state` is "present" or "suspect" where it is here."""

    @property
    def kind(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def state(self) -> str: ...


class Plannable(Protocol):
    """What planning needs to know of a model of the library."""

    @property
    def id(self) -> str: ...
    @property
    def complete(self) -> bool: ...
    @property
    def architecture(self) -> str: ...
    @property
    def whole_only(self) -> str: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_embd(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def shards(self) -> Sequence[Shard]: ...


class LocalView:
    """Plans with this node alone. A plan is kept as long as the model's files stay the same: speeds decide
    between nodes, and here is only one.
    """

    def __init__(self) -> None:
        self._plans: dict[str, tuple[Version, Plan | NoPlan]] = {}
        self._speeds: dict[str, Speeds] = {}

    def placement(self, model: Plannable) -> Plan | NoPlan:
        """Where requests for the model run."""
        version = (model.held_bytes, model.complete, model.n_layers)
        known = self._plans.get(model.id)
        if known is not None and known[0] == version:
            return known[1]
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        found = plan(self.snapshot(model), Request())
        self._plans[model.id] = (version, found)
        return found

    def snapshot(self, model: Plannable, *, loaded: Collection[Segment] = ()) -> Snapshot:
        """This node and the model, as of now; `loaded` are its windows in memory."""
        speeds = self.speeds(model.id)
        held = (*(Holding(part=part) for part in held_parts(model)), *(_in_memory(part) for part in loaded))
        peer = Peer(
            id=HERE,
            holdings=held,
            decode_seconds=speeds.decode.value or None,
            prefill_seconds=speeds.prefill.value or None,
        )
        return Snapshot(here=HERE, shape=shape_of(model), peers=(peer,))

    def speeds(self, model_id: str) -> Speeds:
        """What requests to the model have taken so far."""
        return self._speeds.get(model_id, Speeds())

    def measured(self, model: Plannable, usage: Usage, *, choices: int) -> None:
        """Takes in what a request took that was answered in full, with `choices` answers at the same time."""
        if len(self._speeds) >= MOST_PLANS and model.id not in self._speeds:
            self._speeds.clear()
        self._speeds[model.id] = self.speeds(model.id).after(
            decode_layers=model.n_layers + _head_layers(model),
            prefill_layers=model.n_layers,
            prompt_tokens=usage.prompt_tokens - usage.cached_tokens,
            prefill_seconds=usage.prefill_seconds,
            # the clock of decoding starts with the first token
            answer_tokens=usage.completion_tokens // max(1, choices) - 1,
            decode_seconds=usage.decode_seconds,
        )


def shape_of(model: Plannable) -> ModelShape:
    """Sizes and rules of a model."""
    rules = architecture_of(model.architecture)
    count = max(1, model.n_layers)
    sliceable = not model.whole_only
    forbidden = rules.forbidden_lengths
    if rules.count_from and rules.count_from <= count <= rules.count_to:
        forbidden = ()  # slices are filled up to the model's own length
    return ModelShape(
        layer_bytes=tuple(_layer_sizes(model, count)),
        embedding_bytes=_size(model, "embedding"),
        head_bytes=_size(model, "head"),
        width=max(1, model.n_embd),
        cuts=tuple(range(count + 1)) if sliceable else (),
        forbidden_lengths=forbidden,
        start_multiple=rules.start_multiple,
    )


def held_parts(model: Plannable) -> Iterator[Segment]:
    """The stretches of the model that are on this disk."""
    if model.complete:
        yield Segment(first=0, last=model.n_layers, embedding=True, head=True)
        return
    for shard in model.shards:
        if shard.state not in {"present", "suspect"}:
            continue
        if shard.kind == "embedding":
            yield Segment(first=0, last=0, embedding=True)
        elif shard.kind == "head":
            yield Segment(first=model.n_layers, last=model.n_layers, head=True)
        elif shard.kind == "layers" and shard.first < model.n_layers:
            yield Segment(first=shard.first, last=min(shard.last, model.n_layers))


def _in_memory(part: Segment) -> Holding:
    return Holding(part=part, loaded=True)


def _layer_sizes(model: Plannable, count: int) -> list[int]:
    """Bytes of each layer: its even share of its shard, else of the whole."""
    sizes = [max(1, model.size_bytes // count)] * count
    for shard in model.shards:
        if shard.kind == "layers" and shard.last > shard.first:
            share = max(1, shard.size_bytes // (shard.last - shard.first))
            covered = range(shard.first, min(shard.last, count))
            sizes[shard.first : shard.first + len(covered)] = [share] * len(covered)
    return sizes


def _size(model: Plannable, kind: str) -> int:
    return sum(shard.size_bytes for shard in model.shards if shard.kind == kind)


def _head_layers(model: Plannable) -> float:
    """The output head's size in average layers."""
    layers = sum(_layer_sizes(model, max(1, model.n_layers)))
    return _size(model, "head") * max(1, model.n_layers) / layers
