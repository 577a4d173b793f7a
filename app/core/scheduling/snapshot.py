"""Who could take part, as known at one moment: what a plan is made from."""

import math

import msgspec

from app.core.scheduling.shape import ModelShape, Segment


class Holding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A part of the model that a peer has: on its disk, from which it can load any window of it, or
    `loaded` as exactly this window.
    """

    part: Segment
    loaded: bool = False


class Peer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node that holds something of the model. Times in seconds, sizes in bytes.

    `decode_seconds` and `prefill_seconds` are what an average layer takes for one token; None as long as
    nobody has measured it. `round_trip` and `bandwidth` (bytes a second) are those of the link between this
    peer and the node that plans. `load` is the share of its slots that are taken, `queue_seconds` how long
    a request waits for its turn, `memory_free` what further windows may take (None: the peer decides
    itself), `load_rate` bytes a second from its disk into memory. `group` names the owner or subnet that
    it shares with others. Peers that are not `allowed` or not `reachable` are named where a plan fails
    for want of them, and never take part.
    """

    id: str
    holdings: tuple[Holding, ...]
    decode_seconds: float | None = None
    prefill_seconds: float | None = None
    round_trip: float = 0.0
    bandwidth: float = math.inf
    load: float = 0.0
    queue_seconds: float = 0.0
    memory_free: int | None = None
    load_rate: float = 1e9
    trust: float = 1.0
    group: str = ""
    allowed: bool = True
    reachable: bool = True

    def __post_init__(self) -> None:
        speeds = [speed for speed in (self.decode_seconds, self.prefill_seconds) if speed is not None]
        times = (*speeds, self.round_trip, self.load, self.queue_seconds, self.trust)
        if not all(math.isfinite(time) and time >= 0 for time in times):
            raise ValueError("a peer's times, load and trust are finite and not negative")
        if not (all(speed > 0 for speed in speeds) and self.bandwidth > 0 and self.load_rate > 0):
            raise ValueError("a peer's speeds are greater than zero")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One model and everybody who holds some of it. `here` is the id of the node that plans."""

    here: str
    shape: ModelShape
    peers: tuple[Peer, ...]
