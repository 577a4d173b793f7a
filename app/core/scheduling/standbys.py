"""Who could take a stage over when its peer fails."""

from collections.abc import Collection, Mapping

from app.core.scheduling.costs import stage_costs, whole_costs
from app.core.scheduling.offers import Offer, fits
from app.core.scheduling.shape import Positions, Scale


def standbys(
    scale: Scale,
    offers: list[Offer],
    primary: Offer,
    at: Positions,
    *,
    committed: Mapping[str, float],
    answer_tokens: int,
    count: int,
    alone: bool,
) -> tuple[str, ...]:
    """At most `count` peers that can run the same segment, the best first.

    Peers of another group come before those that share the primary's, which may fail with it. `committed`
    is the memory that the plan takes of its own peers. `alone` says that the segment is the whole model,
    run in one place.
    """
    found: dict[str, tuple[bool, float]] = {}
    for offer in offers:
        peer = offer.peer
        if peer.id == primary.peer.id or not fits(offer, scale, at) or not _room(scale, offer, at, committed):
            continue
        costs = whole_costs(scale, offer) if alone else stage_costs(scale, offer, at)
        together = bool(peer.group) and peer.group == primary.peer.group
        rank = (together, costs.total(answer_tokens))
        found[peer.id] = min(rank, found.get(peer.id, rank))
    return tuple(sorted(found, key=lambda peer: (found[peer], peer))[:count])


def memory_of(scale: Scale, parts: Collection[tuple[Offer, Positions]]) -> dict[str, float]:
    """Memory that these segments take of each peer."""
    used: dict[str, float] = {}
    for offer, at in parts:
        if not offer.loaded:
            used[offer.peer.id] = used.get(offer.peer.id, 0.0) + scale.need(at)
    return used


def _room(scale: Scale, offer: Offer, at: Positions, committed: Mapping[str, float]) -> bool:
    return offer.loaded or committed.get(offer.peer.id, 0.0) + scale.need(at) <= offer.budget
