"""The costs of all offers as arrays: one row per position, one column per offer.

`costs.py` has the same sums for a single stage; what they consist of is told there.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from app.core.scheduling.costs import (
    STAGE_SECONDS,
    link_trip,
    row_in,
    row_out,
    seconds_per_byte,
    seconds_per_loaded_byte,
)
from app.core.scheduling.offers import Offer
from app.core.scheduling.shape import Positions, Scale

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Columns = npt.NDArray[np.intp]


class Table:
    """`begin` is what beginning a segment at a position costs, less what would be done before it; `finish`
    what ending there costs, all before it included: their sum is a segment's cost, infinite where the
    offer does not reach. `borders` are the positions where a segment may end, in order. `roomy` offers can
    run any segment they reach, whatever its size; `budget` is the memory of each. By beginning and end,
    `needs` is the memory that a window takes, and `forbidden` tells which must not be.
    """

    def __init__(
        self, scale: Scale, offers: list[Offer], answer_tokens: int, *, borders: list[int] | None = None
    ) -> None:
        self.scale = scale
        self.offers = offers
        self.end = scale.shape.end
        self.borders = sorted(scale.allowed - {0}) if borders is None else borders
        starts = np.array([offer.starts for offer in offers], dtype=np.int64)
        self._first_stop, self._last_stop = np.array([offer.stops for offer in offers], dtype=np.int64).T
        self._first_start = starts[:, 0]
        self._here = np.array([offer.here for offer in offers])
        self.budget = _floats([math.inf if offer.loaded else offer.budget for offer in offers])
        self.needs, self.forbidden = self._rules()
        self.begin, self.finish = self._costs(answer_tokens)
        positions = np.arange(self.end + 1)[:, None]
        self._reach = (self._first_stop <= positions) & (positions <= self._last_stop)
        np.copyto(self.begin, np.inf, where=(positions < starts[:, 0]) | (positions > starts[:, 1]))
        np.copyto(self.finish, np.inf, where=~self._reach)
        self.finish[1, ~self._here] = np.inf
        self._reserve = self._kept_for_the_head()
        self._less_head = self.budget - self._reserve
        free = self.needs[self._first_start, self._last_stop] <= self._less_head
        self._rejects = bool(scale.forbidden)
        self.roomy = free & (not self._rejects)
        self._columns: dict[str, list[int]] = {}
        for column, offer in enumerate(offers):
            if not offer.loaded and math.isfinite(offer.budget):
                self._columns.setdefault(offer.peer.id, []).append(column)

    def ending(self, stop: int) -> tuple[Columns, Columns]:
        """The offers whose segments may end there: those that are roomy, and the others."""
        reach = self._reach[stop]
        return np.flatnonzero(reach & self.roomy), np.flatnonzero(reach & ~self.roomy)

    def beginning(self, reached: Floats, stop: int, column: int) -> int:
        """The position from which this offer's segment up to `stop` costs least."""
        seconds = self.begin[:stop, column] + self._gate(reached, 0, stop)
        if not self.roomy[column]:
            seconds[self.needs[:stop, stop] > self._room(stop)[column]] = np.inf
        return int(seconds.argmin())

    def beginnings(self, reached: Floats, stop: int, columns: Columns) -> Floats:
        """By position before `stop` and offer: `reached` and then beginning a segment up to `stop`."""
        room = self._room(stop)[columns]
        needs = self.needs[:stop, stop]
        first = int(np.argmax(needs <= room.max()))  # longer segments would fit into nobody's memory
        gate = self._gate(reached, first, stop)
        out = np.full((stop, columns.size), np.inf)
        seconds = self.begin[first:stop, columns] + gate[:, None]
        out[first:] = np.where(needs[first:, None] <= room, seconds, np.inf)
        return out

    def earliest(self, stop: int, columns: Columns) -> int:
        """The first position from where one of these offers may get to `stop`."""
        within = self.needs[:stop, stop] <= self._room(stop)[columns].max()
        return max(int(np.argmax(within)), int(self._first_start[columns].min()))

    def left_for_the_head(self, stop: int, columns: Columns) -> Floats:
        """Memory that segments which end there leave untouched."""
        return self._reserve[columns] if stop < self.end else np.zeros(columns.size)

    def columns_of(self, peer: str) -> list[int]:
        """The offers of a peer for which memory counts."""
        return self._columns.get(peer, [])

    def standbys(
        self, primary: Offer, at: Positions, committed: Mapping[str, float], count: int
    ) -> tuple[str, ...]:
        """At most `count` peers that can run the segment instead, the best first; those of another group
        come before those that share the primary's, which may fail with it. `committed` is the memory that
        the chain takes already.
        """
        if primary.here or count == 0:
            return ()
        seconds = self.begin[at.start] + self.finish[at.stop]
        seconds[self.needs[at.start, at.stop] > self.budget] = np.inf
        apart: list[str] = []
        together: list[str] = []
        for column in np.argsort(seconds, kind="stable"):
            if not math.isfinite(seconds[column]) or len(apart) == count:
                break
            offer, peer = self.offers[int(column)], self.offers[int(column)].peer
            taken = 0.0 if offer.loaded else committed.get(peer.id, 0.0)
            fits = self.needs[at.start, at.stop] + taken <= self.budget[column]
            if fits and peer.id != primary.peer.id and peer.id not in apart and peer.id not in together:
                shared = bool(peer.group) and peer.group == primary.peer.group
                (together if shared else apart).append(peer.id)
        return (*apart, *together)[:count]

    def _gate(self, reached: Floats, first: int, stop: int) -> Floats:
        """`reached`, infinite where no segment up to `stop` may begin."""
        if not self._rejects:
            return reached[first:stop]
        return np.where(self.forbidden[first:stop, stop], np.inf, reached[first:stop])

    def _room(self, stop: int) -> Floats:
        """Memory for segments that end there."""
        return self.budget if stop == self.end else self._less_head

    def _rules(self) -> tuple[Floats, Flags]:
        """For each beginning and end: the memory a window takes, and whether it must not be."""
        scale, shape = self.scale, self.scale.shape
        positions = np.arange(self.end + 1)
        fillers = np.array([scale.fillers(int(at)) for at in positions])
        needs = _floats(scale.needs)
        need = needs[None, :] - needs[:, None] + (fillers * scale.mean_layer + shape.window_bytes)[:, None]
        length = np.minimum(positions, self.end - 1)[None, :] - np.maximum(positions, 1)[:, None]
        forbidden = np.isin(length + fillers[:, None], scale.forbidden) & (length > 0)
        forbidden[0, self.end] = False
        return need, forbidden

    def _costs(self, answer_tokens: int) -> tuple[Floats, Floats]:
        scale, shape, offers = self.scale, self.scale.shape, self.offers
        columns = [
            (
                offer.rows,
                seconds_per_byte(offer),
                offer.decode,
                offer.prefill,
                seconds_per_loaded_byte(offer),
                STAGE_SECONDS + link_trip(offer),
                offer.peer.queue_seconds,
            )
            for offer in offers
        ]
        rows, a_byte, decode, prefill, load, trips, queues = np.array(columns, dtype=np.float64).T
        decode, prefill = answer_tokens * decode, rows * prefill
        sums = np.stack((scale.decode, scale.prefill, scale.weights), axis=1)
        before = sums @ np.stack((decode, prefill, load))
        moved = a_byte * (answer_tokens + rows)
        begin = ((answer_tokens + 1) * trips + queues + row_in(shape, 1) * moved) - before
        begin[0] += (row_in(shape, 0) - row_in(shape, 1)) * moved
        if shape.start_multiple > 1:
            fillers = _floats([scale.fillers(at) for at in range(self.end + 1)])
            begin += np.outer(fillers, decode + prefill)
        finish = before + row_out(shape, 1) * moved
        finish[self.end] += (row_out(shape, self.end) - row_out(shape, 1)) * moved
        last_rows = (rows - 1) * a_byte  # of the rows that reach the head, only the last is wanted
        for at in (self.end - 1, self.end):
            finish[at] -= row_out(shape, at) * last_rows
        return begin, finish

    def _kept_for_the_head(self) -> Floats:
        """Memory of this node that segments before the end leave, where nobody else may run the head."""
        reaching = self._last_stop == self.end
        reserve = np.zeros(len(self.offers))
        loaded = any(offer.loaded for offer, there in zip(self.offers, reaching, strict=True) if there)
        if not loaded and not (reaching & ~self._here).any() and self.end - 1 in self.scale.allowed:
            reserve[self._here & np.isfinite(self.budget)] = self.needs[self.end - 1, self.end]
        return reserve


def _floats(values: list[float] | list[int]) -> Floats:
    return np.array(values, dtype=np.float64)
