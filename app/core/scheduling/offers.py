"""What each peer offers: stretches of the model from which it can run segments, and how fast."""

import math
from statistics import median
from typing import Final, NamedTuple

from app.core.scheduling.request import Request
from app.core.scheduling.result import Why
from app.core.scheduling.shape import ModelShape, Positions, Scale, positions_of
from app.core.scheduling.snapshot import Peer, Snapshot

ASSUMED_BANDWIDTH: Final = 10e9
"""Bytes a second from memory, which decoding is bound by, of a machine that nobody has measured."""
ASSUMED_PREFILL: Final = 0.2
"""Time of a prompt's token on such a machine, in times of a generated one."""


class Offer(NamedTuple):
    """A peer runs segments that begin at `starts` and end at `stops` (inclusive bounds of positions).

    `decode` and `prefill` are seconds for an average layer and token, under the peer's load; `rows` the
    tokens of the prompt that it has to compute. `loaded` windows need no memory, others at most `budget`.
    """

    peer: Peer
    here: bool
    starts: Positions
    stops: Positions
    loaded: bool
    budget: float
    decode: float
    prefill: float
    rows: int
    measured: bool

    def runs(self, at: Positions) -> bool:
        """Whether the segment is within the offer; memory is another matter."""
        return (
            self.starts.start <= at.start <= self.starts.stop
            and self.stops.start <= at.stop <= self.stops.stop
        )


def why_not(peer: Peer, here: str, request: Request) -> Why:
    """Why a peer may take no part, or "available"."""
    if peer.id == here:
        return "available"
    if not peer.reachable:
        return "unreachable"
    if not peer.allowed:
        return "not allowed"
    return "not trusted" if peer.trust < request.privacy.minimum_trust else "available"


def make_offers(snapshot: Snapshot, request: Request) -> list[Offer]:
    """All offers of peers that may take part; of equal ones, those that take no memory come first."""
    usable = [peer for peer in snapshot.peers if why_not(peer, snapshot.here, request) == "available"]
    speeds = _Assumed(snapshot.shape, usable)
    cached = {(kv.peer, positions_of(snapshot.shape, kv.part)): kv.tokens for kv in request.cached}
    rows = _rows(request, 0)
    offers: list[Offer] = []
    for peer in usable:
        here = peer.id == snapshot.here
        budget = math.inf if peer.memory_free is None else float(peer.memory_free)
        decode, prefill, measured = speeds.of(peer)
        for holding in peer.holdings:
            if holding.loaded:
                at = positions_of(snapshot.shape, holding.part)
                new = _rows(request, cached.get((peer.id, at), 0)) if cached else rows
                offers.append(Offer(peer, here, *_exactly(at), True, budget, decode, prefill, new, measured))
        for held in merged(snapshot.shape, peer):
            if here and held.start == 0:
                # rows of the table are read from disk, without a worker
                alone = _exactly(Positions(0, 1))
                offers.append(Offer(peer, here, *alone, True, budget, decode, prefill, rows, measured))
            offers.append(Offer(peer, here, held, held, False, budget, decode, prefill, rows, measured))
    return offers


def _exactly(at: Positions) -> tuple[Positions, Positions]:
    """The bounds of an offer of this segment only."""
    return Positions(at.start, at.start), Positions(at.stop, at.stop)


def merged(shape: ModelShape, peer: Peer) -> list[Positions]:
    """The stretches that a peer has, joined where they touch."""
    parts = {holding.part for holding in peer.holdings}
    if len(parts) == 1:
        return [positions_of(shape, part) for part in parts]
    out: list[Positions] = []
    for held in sorted(positions_of(shape, part) for part in parts):
        if out and held.start <= out[-1].stop:
            out[-1] = Positions(out[-1].start, max(out[-1].stop, held.stop))
        else:
            out.append(held)
    return out


def kept_here(offers: list[Offer], shape: ModelShape, *, embedding: bool, head: bool) -> list[Offer]:
    """The offers without other peers' embedding or output head."""
    end, out = shape.end, []
    for offer in offers:
        starts, stops = offer.starts, offer.stops
        taken = not offer.here and ((embedding and starts.start == 0) or (head and stops.stop == end))
        if not taken:
            out.append(offer)
            continue
        starts = Positions(max(starts.start, 1 if embedding else 0), starts.stop)
        stops = Positions(stops.start, min(stops.stop, end - 1 if head else end))
        if starts.start <= starts.stop and stops.start <= stops.stop and starts.start < stops.stop:
            out.append(offer._replace(starts=starts, stops=stops))
    return out


def fits(offer: Offer, scale: Scale, at: Positions) -> bool:
    """Whether the peer can run the segment, memory included, and not only an embedding that is not here."""
    if not offer.runs(at) or not scale.may_be(at) or (at == (0, 1) and not offer.here):
        return False
    return offer.loaded or scale.need(at) <= offer.budget


def _rows(request: Request, cached: int) -> int:
    return max(1, request.prompt_tokens - cached)


class _Assumed:
    """Speeds, those of the median peer where nobody has measured one."""

    def __init__(self, shape: ModelShape, peers: list[Peer]) -> None:
        decode = [peer.decode_seconds for peer in peers if peer.decode_seconds is not None]
        prefill = [peer.prefill_seconds for peer in peers if peer.prefill_seconds is not None]
        self._decode = median(decode) if decode else shape.mean_layer / ASSUMED_BANDWIDTH
        self._prefill = median(prefill) if prefill else self._decode * ASSUMED_PREFILL

    def of(self, peer: Peer) -> tuple[float, float, bool]:
        """Decode and prefill seconds under the peer's load, and whether both were measured."""
        slowed = 1.0 + peer.load
        decode = self._decode if peer.decode_seconds is None else peer.decode_seconds
        prefill = self._prefill if peer.prefill_seconds is None else peer.prefill_seconds
        measured = peer.decode_seconds is not None and peer.prefill_seconds is not None
        return decode * slowed, prefill * slowed, measured
