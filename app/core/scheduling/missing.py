"""Why there is no plan: which parts nobody can run, and who holds them."""

from app.core.scheduling.offers import Offer, kept_here, merged, why_not
from app.core.scheduling.request import Request
from app.core.scheduling.result import Gap, Holder, NoPlan, Why
from app.core.scheduling.shape import Positions, Scale, segment_of
from app.core.scheduling.snapshot import Snapshot


def explain(snapshot: Snapshot, request: Request, scale: Scale, offers: list[Offer]) -> NoPlan:
    """The reason, where planning over all of `offers` has failed."""
    end = snapshot.shape.end
    missing = uncovered(offers, scale)
    if missing:
        return NoPlan(reason="missing", gaps=_gaps(snapshot, request, missing))
    if not snapshot.shape.cuts:
        return NoPlan(reason="whole only", gaps=_gaps(snapshot, request, [Positions(0, end)]))
    embedding, head = (wish == "required" for wish in request.privacy.wishes)
    missing = uncovered(kept_here(offers, snapshot.shape, embedding=embedding, head=head), scale)
    if missing:
        return NoPlan(reason="privacy", gaps=_gaps(snapshot, request, missing))
    return NoPlan(reason="no chain", gaps=_gaps(snapshot, request, [Positions(0, end)]))


def uncovered(offers: list[Offer], scale: Scale) -> list[Positions]:
    """The stretches of units that are within no offer whose peer could load at least that unit."""
    units = range(scale.shape.end)
    needs = [scale.need(Positions(unit, unit + 1)) for unit in units]
    missing = set(units)
    for offer in offers:
        if not missing:
            return []
        held = missing.intersection(range(offer.starts.start, offer.stops.stop))
        if held == {0} and not offer.here and offer.stops.stop == 1:
            continue  # others' tables are of no use without a layer
        missing -= {unit for unit in held if offer.loaded or needs[unit] <= offer.budget}
    out: list[Positions] = []
    for unit in sorted(missing):
        if out and out[-1].stop == unit:
            out[-1] = Positions(out[-1].start, unit + 1)
        else:
            out.append(Positions(unit, unit + 1))
    return out


def _gaps(snapshot: Snapshot, request: Request, missing: list[Positions]) -> tuple[Gap, ...]:
    gaps = []
    for gap in missing:
        holders: list[Holder] = []
        for peer in snapshot.peers:
            if any(held.start < gap.stop and gap.start < held.stop for held in merged(snapshot.shape, peer)):
                why: Why = why_not(peer, snapshot.here, request)
                short = why == "available" and peer.memory_free is not None
                holders.append(Holder(peer.id, "short of memory" if short else why))
        gaps.append(Gap(part=segment_of(snapshot.shape, gap), holders=tuple(holders)))
    return tuple(gaps)
