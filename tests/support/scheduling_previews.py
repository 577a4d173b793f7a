"""A preview of a model that three nodes hold together, planned for real."""

from app.core.kernel.errors import ModelNotFound
from app.core.models.fits import MemoryEstimate, MemoryTerm
from app.core.scheduling.planner import plan
from app.core.scheduling.request import Privacy, Request
from app.core.scheduling.shape import ModelShape, Segment
from app.core.scheduling.snapshot import Holding, Peer, Snapshot
from app.core.swarm.local import HERE
from app.core.swarm.preview import Preview, Room

SHAPE = ModelShape(layer_bytes=(100,) * 6, head_bytes=100, width=8, cuts=tuple(range(7)))
MEMORY = MemoryEstimate((MemoryTerm("weights", 3 << 30, "the shards, mapped from disk"),), 3 << 30)


def held_together(name: str, *, missing: bool = False, measured: bool = True) -> Preview:
    """The model "large": embedding and head here, its layers with two peers, one of them perhaps away."""
    if name != "large":
        raise ModelNotFound(f"There is no model named {name!r} on this node.", param="model")
    second = _peer("bob", Segment(first=3, last=6), measured=measured, reachable=not missing)
    peers = (
        _peer(HERE, Segment(first=0, last=0, embedding=True), Segment(first=6, last=6, head=True)),
        _peer("alice", Segment(first=0, last=3), measured=measured),
        second,
        _peer("carol", Segment(first=0, last=3), measured=measured, round_trip=0.5),
    )
    request = Request(privacy=Privacy(encrypted_pipeline=True))
    placement = plan(Snapshot(here=HERE, shape=SHAPE, peers=peers), request)
    room = Room(memory=2 << 30, context=4096, slots=1)
    return Preview(id=name, name="Large", request=request, placement=placement, memory=MEMORY, room=room)


def _peer(
    name: str, *parts: Segment, measured: bool = True, reachable: bool = True, round_trip: float = 0.02
) -> Peer:
    return Peer(
        id=name,
        holdings=tuple(Holding(part=part, loaded=True) for part in parts),
        decode_seconds=0.01 if measured else None,
        prefill_seconds=0.001 if measured else None,
        round_trip=round_trip,
        reachable=reachable,
    )
