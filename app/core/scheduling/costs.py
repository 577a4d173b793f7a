"""What a stage takes, in seconds.

Every stage answers the coordinator, which passes on what it got: a stage costs its own link's round trip,
whoever comes before and after it. Therefore the costs of a chain are the sum of its stages' costs.
"""

from typing import Final, NamedTuple

from app.core.scheduling.offers import Offer
from app.core.scheduling.shape import ModelShape, Positions, Scale

STAGE_SECONDS: Final = 0.0005
"""Handling of a frame by the coordinator and the stage's node; it also makes fewer stages the better ones."""
TOKEN_BYTES: Final = 4


class Costs(NamedTuple):
    start: float
    prefill: float
    decode: float

    def total(self, answer_tokens: int) -> float:
        """Seconds for a whole answer."""
        return self.start + self.prefill + answer_tokens * self.decode


def stage_costs(scale: Scale, offer: Offer, at: Positions) -> Costs:
    """A stage of a chain."""
    shape = scale.shape
    fillers = scale.fillers(at.start)
    trip = STAGE_SECONDS + link_trip(offer)
    a_byte = seconds_per_byte(offer)
    moved = row_in(shape, at.start) + row_out(shape, at.stop)
    decode = trip + (scale.decode[at.stop] - scale.decode[at.start] + fillers) * offer.decode + moved * a_byte
    layers = scale.prefill[at.stop] - scale.prefill[at.start] + fillers
    given = offer.rows if at.stop < shape.end - 1 else 1
    moved = offer.rows * row_in(shape, at.start) + given * row_out(shape, at.stop)
    prefill = trip + layers * offer.prefill * offer.rows + moved * a_byte
    return Costs(_start(scale, offer, at), prefill, decode)


def whole_costs(scale: Scale, offer: Offer) -> Costs:
    """The whole model in one place, which runs the decode loop itself: tokens come as a stream."""
    at = Positions(0, scale.shape.end)
    decode = scale.decode[at.stop] * offer.decode
    sent = offer.rows * TOKEN_BYTES * seconds_per_byte(offer)
    prefill = link_trip(offer) + scale.prefill[at.stop] * offer.prefill * offer.rows + sent
    return Costs(_start(scale, offer, at), prefill, decode)


def link_trip(offer: Offer) -> float:
    return 0.0 if offer.here else offer.peer.round_trip


def seconds_per_byte(offer: Offer) -> float:
    """On the peer's link; nothing for this node's own workers."""
    return 0.0 if offer.here else 1.0 / offer.peer.bandwidth


def seconds_per_loaded_byte(offer: Offer) -> float:
    return 0.0 if offer.loaded else 1.0 / offer.peer.load_rate


def row_in(shape: ModelShape, start: int) -> float:
    """Bytes that enter a segment for each token."""
    return TOKEN_BYTES if start == 0 else shape.width * shape.activation_bytes


def row_out(shape: ModelShape, stop: int) -> float:
    """Bytes that leave a segment for each row."""
    return TOKEN_BYTES if stop == shape.end else shape.width * shape.activation_bytes


def _start(scale: Scale, offer: Offer, at: Positions) -> float:
    size = scale.weights[at.stop] - scale.weights[at.start]
    return offer.peer.queue_seconds + size * seconds_per_loaded_byte(offer)
