"""Noticing a peer that is frozen: a stopped process or a cut cable gives no error over TCP for minutes.

A policy without I/O: it is told of pings sent and answers received and says what to do next. With the default
interval of 1 s and patience of 4 s a frozen peer is noticed within 5 s.
"""

from typing import Final

import msgspec

SHORTEST_WAIT: Final = 0.001


class SendPing(msgspec.Struct, frozen=True):
    """Send a ping now."""


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do for `seconds`, unless an answer comes."""

    seconds: float


class Frozen(msgspec.Struct, frozen=True):
    """The peer has not answered for as long as patience lasts: close the connection."""

    silent_seconds: float


Action = SendPing | Wait | Frozen


class Heartbeat:
    """One peer's pulse: a ping an interval after the last answer, at most one on its way.

    `now` is a monotonic time in seconds. `rtt` is the moving average of the round trips, None before the
    first. A gap in the calls themselves (this machine slept) does not count against the peer.
    """

    def __init__(self, *, interval: float, patience: float, now: float) -> None:
        self._interval = interval
        self._patience = patience
        self._sent: float | None = None
        self._next = now
        self._looked = now
        self.rtt: float | None = None

    def next(self, now: float) -> Action:
        """What to do at `now`; to be asked again when the wait it names is over."""
        slept = now - self._looked > self._interval + self._patience
        self._looked = now
        if self._sent is not None:
            if slept:
                self._sent = now
            silent = now - self._sent
            if silent >= self._patience:
                return Frozen(silent)
            return Wait(max(SHORTEST_WAIT, self._patience - silent))
        if now >= self._next:
            self._sent = now
            return SendPing()
        return Wait(max(SHORTEST_WAIT, self._next - now))

    def answered(self, now: float) -> float:
        """Takes note of the answer; returns the round trip in seconds."""
        took = now - (now if self._sent is None else self._sent)
        self.rtt = took if self.rtt is None else 0.8 * self.rtt + 0.2 * took
        self._sent = None
        self._next = now + self._interval
        return took
