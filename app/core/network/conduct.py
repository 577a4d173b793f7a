"""Conduct: what a peer's offences cost it, and when it is banned. Pure.

This is about rules of the wire that no honest node breaks; trust in what a peer computes is kept elsewhere.
A peer starts at 1. At 0 it is banned: ten minutes, doubling with each ban up to a day. Points come back at
one per ten minutes, so that a single misread byte is soon forgotten and a flood is not.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

RECOVERY_SECONDS: Final = 600.0
FIRST_BAN_SECONDS: Final = 600.0
LONGEST_BAN_SECONDS: Final = 86_400.0
MAX_PEERS: Final = 10_000


class Offence(Enum):
    """Rules a peer can break, with what each breach costs."""

    BAD_FRAME = 0.34
    BAD_MESSAGE = 0.2
    MISATTRIBUTED = 0.5
    FORGED = 0.5
    UNDECRYPTABLE = 0.1
    REPLAYED = 0.02
    MALFORMED_GOSSIP = 0.2
    FLOOD = 0.05

    @property
    def cost(self) -> float:
        return self.value


class _Record:
    def __init__(self, now: float) -> None:
        self.score = 1.0
        self.at = now
        self.bans = 0
        self.banned_until = float("-inf")

    def settle(self, now: float) -> None:
        self.score = min(1.0, self.score + max(0.0, now - self.at) / RECOVERY_SECONDS)
        self.at = now


class Conduct:
    """Every peer's score, for at most MAX_PEERS peers; the best behaved are forgotten first."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}

    def offend(self, peer_id: str, offence: Offence) -> float | None:
        """Books an offence. Returns until when (on the clock) the peer is banned by it, None if it is not."""
        now = self._clock()
        record = self._records.get(peer_id)
        if record is None:
            self._make_room()
            record = self._records[peer_id] = _Record(now)
        record.settle(now)
        record.score -= offence.cost
        if record.score > 1e-9:
            return None
        if record.banned_until <= now:
            length = min(LONGEST_BAN_SECONDS, FIRST_BAN_SECONDS * 2 ** min(record.bans, 16))
            record.bans += 1
            record.banned_until = now + length
        record.score = 0.0
        return record.banned_until

    def banned(self, peer_id: str) -> bool:
        record = self._records.get(peer_id)
        return record is not None and self._clock() < record.banned_until

    def score(self, peer_id: str) -> float:
        """From 0 to 1; 1 for a peer that never offended."""
        record = self._records.get(peer_id)
        if record is None:
            return 1.0
        record.settle(self._clock())
        return max(0.0, record.score)

    def _make_room(self) -> None:
        if len(self._records) < MAX_PEERS:
            return
        now = self._clock()
        for record in self._records.values():
            record.settle(now)
        forgivable = sorted(self._records.items(), key=lambda item: (item[1].banned_until, -item[1].score))
        for peer_id, _ in forgivable[: MAX_PEERS // 10]:
            del self._records[peer_id]


class RateLimit:
    """A token bucket: `rate` a second, `burst` at once. `clock` counts seconds."""

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
