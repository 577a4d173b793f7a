"""The node's answers to the host, given in the host's thread: who may connect, who has opened too much."""

from collections.abc import Callable
from typing import Final

from app.core.network.conduct import RateLimit
from app.core.network.host.reports import Gossiped, GossipRefused
from app.core.network.seal import Gossip, Refused

MAX_LIMITS: Final = 2000


class HostGate:
    """Implements the host's Gate. `count` is called in the loop's thread, all else in the host's.

    `gossip` is for this object alone, and `banned` only looks things up.
    """

    def __init__(
        self,
        *,
        gossip: Gossip,
        clock: Callable[[], float],
        per_second: int,
        max_peers: int,
        banned: Callable[[str], bool],
    ) -> None:
        self._gossip = gossip
        self._clock = clock
        self._per_second = per_second
        self._max_peers = max_peers
        self._limits: dict[str, RateLimit] = {}
        self._banned = banned
        self._peers = 0

    def count(self, peers: int) -> None:
        """Takes note of how many peers are connected."""
        self._peers = peers

    def admits(self, peer_id: str) -> bool:
        return not self._banned(peer_id) and self._peers < self._max_peers

    def takes_stream(self, peer_id: str) -> bool:
        limit = self._limits.get(peer_id)
        if limit is None:
            if len(self._limits) >= MAX_LIMITS:
                del self._limits[next(iter(self._limits))]
            limit = self._limits[peer_id] = RateLimit(
                rate=self._per_second, burst=2 * self._per_second, clock=self._clock
            )
        return limit.take()

    def opens(self, topic: str, forwarder: str, data: bytes) -> Gossiped | GossipRefused:
        try:
            opened = self._gossip.open(topic, data)
        except Refused as refused:
            return GossipRefused(forwarder, refused.reason.value)
        return Gossiped(topic, opened.origin, opened.body)
