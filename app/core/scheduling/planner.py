"""From a snapshot and a request to a plan, or to the reason why there is none.

The order is: the whole model here; else all of it on the one peer that answers soonest, which then
generates by itself; else the chain of segments with the least predicted time. Splitting never makes a
single answer faster: it is for models that fit nowhere.
"""

from app.core.scheduling.costs import Costs, stage_costs, whole_costs
from app.core.scheduling.missing import explain, uncovered
from app.core.scheduling.offers import Offer, fits, kept_here, make_offers
from app.core.scheduling.request import Request, Wish
from app.core.scheduling.result import Kind, NoPlan, Plan, Sight, Stage
from app.core.scheduling.shape import Positions, Scale, segment_of
from app.core.scheduling.sights import chain_sees, here_sees, whole_sees
from app.core.scheduling.snapshot import Snapshot

Part = tuple[Offer, Positions]


def plan(snapshot: Snapshot, request: Request) -> Plan | NoPlan:
    """Where the request runs. Pure: the same arguments give the same plan."""
    planner = _Planner(snapshot, request)
    return planner.here() or planner.one_peer() or planner.chain() or planner.failure()


class _Planner:
    def __init__(self, snapshot: Snapshot, request: Request) -> None:
        self._snapshot = snapshot
        self._request = request
        self._shape = snapshot.shape
        self._scale = Scale(self._shape, request.prompt_tokens + request.answer_tokens)
        self._offers = make_offers(snapshot, request)
        self._everything = Positions(0, self._shape.end)

    def here(self) -> Plan | None:
        able = self._whole([offer for offer in self._offers if offer.here])
        if not able:
            return None
        sight = here_sees(self._snapshot.here, [segment_of(self._shape, self._everything)])
        stage = self._stage(able[0], self._everything, whole_costs(self._scale, able[0]), ())
        return _plan("here", [stage], [(able[0], self._everything)], self._request, sights=(sight,))

    def one_peer(self) -> Plan | None:
        if "required" in self._request.privacy.wishes:
            return None
        able = self._whole([offer for offer in self._offers if not offer.here])
        if not able:
            return None
        best = able[0]
        others = _standbys(best, able, self._request.standbys)
        stage = self._stage(best, self._everything, whole_costs(self._scale, best), others)
        sights = here_sees(self._snapshot.here, ()), whole_sees(self._shape, best.peer.id)
        return _plan("peer", [stage], [(best, self._everything)], self._request, sights=sights)

    def chain(self) -> Plan | None:
        for embedding, head in _concessions(*self._request.privacy.wishes):
            offers = kept_here(self._offers, self._shape, embedding=embedding, head=head)
            if uncovered(offers, self._scale):
                continue
            from app.core.scheduling.chain import best_chain  # noqa: PLC0415 - numpy, which few plans need

            tokens, count = self._request.answer_tokens, self._request.standbys
            found = best_chain(self._scale, offers, answer_tokens=tokens, standbys=count)
            if found is None:
                continue
            parts = [(link.offer, link.at) for link in found.links]
            stages = [
                self._stage(offer, at, stage_costs(self._scale, offer, at), others)
                for (offer, at), others in zip(parts, found.standbys, strict=True)
            ]
            sights = chain_sees(self._snapshot.here, [(stage.peer, stage.part) for stage in stages])
            return _plan("chain", stages, parts, self._request, sights=sights, bound=found.bound)
        return None

    def failure(self) -> NoPlan:
        return explain(self._snapshot, self._request, self._scale, self._offers)

    def _whole(self, offers: list[Offer]) -> list[Offer]:
        """The offers of the whole model, the quickest first."""
        at, end = self._everything, self._shape.end
        reaching = [offer for offer in offers if offer.starts.start == 0 and offer.stops.stop == end]
        able = [offer for offer in reaching if fits(offer, self._scale, at)]
        tokens = self._request.answer_tokens
        return sorted(able, key=lambda offer: whole_costs(self._scale, offer).total(tokens))

    def _stage(self, offer: Offer, at: Positions, costs: Costs, others: tuple[str, ...]) -> Stage:
        return Stage(
            peer=offer.peer.id,
            part=segment_of(self._shape, at),
            loaded=offer.loaded,
            start_seconds=costs.start,
            prefill_seconds=costs.prefill,
            decode_seconds=costs.decode,
            standbys=others,
        )


def _standbys(primary: Offer, able: list[Offer], count: int) -> tuple[str, ...]:
    """The next best peers; those that share the primary's group, and may fail with it, come last."""
    own, group = primary.peer.id, primary.peer.group
    others = [offer.peer for offer in able if offer.peer.id != own]
    ranked = sorted(others, key=lambda peer: bool(group) and peer.group == group)
    return tuple(dict.fromkeys(peer.id for peer in ranked))[:count]


def _plan(
    kind: Kind,
    stages: list[Stage],
    parts: list[Part],
    request: Request,
    *,
    sights: tuple[Sight, ...],
    bound: float | None = None,
) -> Plan:
    decode = sum(stage.decode_seconds for stage in stages)
    prefill = sum(stage.prefill_seconds for stage in stages)
    total = sum(stage.start_seconds for stage in stages) + prefill + request.answer_tokens * decode
    return Plan(
        kind=kind,
        stages=tuple(stages),
        seconds_per_token=decode,
        # stages get ready at the same time, and then see the prompt one after the other
        first_token_seconds=prefill + max(stage.start_seconds for stage in stages),
        total_seconds=total,
        round_trips=sum(not offer.here for offer, _ in parts) if kind == "chain" else 0,
        measured=all(offer.measured for offer, at in parts if at.stop > 1),
        sights=sights,
        bound_seconds=total if bound is None else bound,
    )


def _concessions(embedding: Wish, head: Wish) -> list[tuple[bool, bool]]:
    """What is kept here in turn: first all that is wished, in the end only what is required."""
    tries = [
        (embedding != "off", head != "off"),
        (embedding != "off", head == "required"),
        (embedding == "required", head == "required"),
    ]
    return list(dict.fromkeys(tries))
