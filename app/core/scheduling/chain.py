"""The chain of segments with the least predicted time, by dynamic programming over positions and peers.

A segment costs what leaves its beginning plus what leaves its end (`costs.py` adds up), so each position
keeps the best way to get there and each peer's cost of beginning there; ending somewhere else is one
vector operation over all peers. That finds the best chain as long as no peer is used for more than its
memory. Where one would be, positions keep several ways each, with the memory these have used: a beam.
"""

import math
from typing import Final, NamedTuple

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

BEAM: Final = 8

Floats = npt.NDArray[np.float64]


class Link(NamedTuple):
    """One segment of a chain."""

    offer: Offer
    at: Positions


class Chain(NamedTuple):
    """Segments in order, and what they take in seconds. `exact` says that there is no better one."""

    links: tuple[Link, ...]
    seconds: float
    exact: bool


class _Way(NamedTuple):
    """A chain up to a position: its last segment, the way before that, and the memory it uses by peer."""

    seconds: float
    at: int
    link: Link | None
    before: "_Way | None"
    used: dict[str, float]


def best_chain(scale: Scale, offers: list[Offer], *, answer_tokens: int, beam: int = BEAM) -> Chain | None:
    """The best chain over the whole model; None if there is none. `beam` bounds the ways that are kept."""
    if not offers:
        return None
    table = _Table(scale, offers, answer_tokens)
    way = table.search(1, track=False)
    if way is None:
        return None
    exact = _within_memory(scale, _links(way))
    if not exact:
        way = table.search(beam, track=True)
    return None if way is None else Chain(_links(way), way.seconds, exact)


def _links(way: _Way) -> tuple[Link, ...]:
    links: list[Link] = []
    step: _Way | None = way
    while step is not None and step.link is not None:
        links.append(step.link)
        step = step.before
    return tuple(reversed(links))


def _within_memory(scale: Scale, links: tuple[Link, ...]) -> bool:
    used: dict[str, float] = {}
    for link in links:
        if not link.offer.loaded:
            used[link.offer.peer.id] = used.get(link.offer.peer.id, 0.0) + scale.need(link.at)
    return all(used.get(link.offer.peer.id, 0.0) <= link.offer.budget for link in links)


class _Table:
    """The costs of all offers as arrays, one column per offer."""

    def __init__(self, scale: Scale, offers: list[Offer], answer_tokens: int) -> None:
        self._scale = scale
        self._offers = offers
        self._end = scale.shape.end
        self._starts = _ints([offer.starts for offer in offers])
        self._stops = _ints([offer.stops for offer in offers])
        self._budget = _floats([math.inf if offer.loaded else offer.budget for offer in offers])
        self._here = np.array([offer.here for offer in offers])
        self._begin, self._finish = self._costs(answer_tokens)
        self._reserve = self._kept_for_the_head()
        self._columns = self._columns_of_peers()

    def search(self, keep: int, *, track: bool) -> _Way | None:
        """The best way to the end, with at most `keep` ways to each position; `track` counts memory."""
        ways: list[_Way] = [_Way(0.0, 0, None, None, {})]
        reached = [True] + [False] * self._end
        rows = np.empty((self._end * keep + 1, len(self._offers)))
        room = np.empty_like(rows) if track else np.broadcast_to(self._budget, rows.shape)
        self._enter(ways, 0, rows, room, track=track)
        last: list[_Way] = []
        for stop in range(1, self._end + 1):
            if stop not in self._scale.allowed:
                continue
            last = self._arrive(stop, ways, rows, room, keep, track=track)
            reached[stop] = bool(last)
            if stop < self._end:
                known = len(ways)
                ways += last
                self._enter(ways, known, rows, room, track=track)
        return min(last, key=lambda way: way.seconds, default=None)

    def _enter(self, ways: list[_Way], known: int, rows: Floats, room: Floats, *, track: bool) -> None:
        """Each offer's costs of going on from the ways that are new."""
        for number in range(known, len(ways)):
            way = ways[number]
            rows[number] = way.seconds + self._begin[way.at]
            if track:
                room[number] = self._budget
                for peer, used in way.used.items():
                    room[number, self._columns[peer]] -= used

    def _arrive(
        self, stop: int, ways: list[_Way], rows: Floats, room: Floats, keep: int, *, track: bool
    ) -> list[_Way]:
        """The best ways that end at this position."""
        columns = np.flatnonzero((self._stops[:, 0] <= stop) & (stop <= self._stops[:, 1]))
        if columns.size == 0:
            return []
        earliest = int(self._starts[columns, 0].min())
        from_row = next((number for number, way in enumerate(ways) if way.at >= earliest), len(ways))
        if from_row == len(ways):
            return []
        needs, forbidden = self._rules(stop, ways[from_row:])
        part = slice(from_row, len(ways))
        free = room[part, columns] - (self._reserve[columns] if stop < self._end else 0.0)
        seconds = np.where(needs[:, None] <= free, rows[part, columns], np.inf)
        seconds[forbidden] = np.inf
        if stop == 1:
            seconds[:, ~self._here[columns]] = np.inf
        seconds += self._finish[stop, columns]
        return self._chosen(stop, ways[from_row:], columns, seconds, keep, track=track)

    def _rules(self, stop: int, ways: list[_Way]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Memory that each way's next segment would take, and which of those must not be."""
        known: dict[int, tuple[float, bool]] = {}
        for way in ways:
            if way.at not in known:
                at = Positions(way.at, stop)
                known[way.at] = (self._scale.need(at), not self._scale.may_be(at))
        pairs = [known[way.at] for way in ways]
        return _floats([need for need, _ in pairs]), np.array([forbidden for _, forbidden in pairs])

    def _chosen(
        self,
        stop: int,
        ways: list[_Way],
        columns: npt.NDArray[np.intp],
        seconds: Floats,
        keep: int,
        *,
        track: bool,
    ) -> list[_Way]:
        """The cheapest ways; one that costs more than another is kept only if it spares some memory."""
        flat = seconds.ravel()
        if keep == 1:
            order = np.array([int(flat.argmin())])
        else:
            most = min(flat.size, 8 * keep)
            nearest = np.argpartition(flat, most - 1)[:most]
            order = nearest[np.argsort(flat[nearest], kind="stable")]
        kept: list[_Way] = []
        for index in order:
            if not math.isfinite(flat[index]) or len(kept) == keep:
                break
            row, column = divmod(int(index), columns.size)
            before, offer = ways[row], self._offers[int(columns[column])]
            way = self._extended(before, offer, stop, float(flat[index]), track=track)
            if not any(_no_worse(other.used, way.used) for other in kept):
                kept.append(way)
        return kept

    def _extended(self, before: _Way, offer: Offer, stop: int, seconds: float, *, track: bool) -> _Way:
        at = Positions(before.at, stop)
        used = before.used
        if track and not offer.loaded and math.isfinite(offer.budget):
            used = used | {offer.peer.id: used.get(offer.peer.id, 0.0) + self._scale.need(at)}
        return _Way(seconds, stop, Link(offer, at), before, used)

    def _costs(self, answer_tokens: int) -> tuple[Floats, Floats]:
        """By position and offer: what beginning a segment there costs, and what ending it there does."""
        scale, shape, offers = self._scale, self._scale.shape, self._offers
        rows = _floats([offer.rows for offer in offers])
        a_byte = _floats([seconds_per_byte(offer) for offer in offers])
        decode = answer_tokens * _floats([offer.decode for offer in offers])
        prefill = rows * _floats([offer.prefill for offer in offers])
        load = _floats([seconds_per_loaded_byte(offer) for offer in offers])
        trips = _floats([STAGE_SECONDS + link_trip(offer) for offer in offers])
        queues = _floats([offer.peer.queue_seconds for offer in offers])
        before = (
            np.outer(scale.decode, decode) + np.outer(scale.prefill, prefill) + np.outer(scale.weights, load)
        )
        positions = range(shape.end + 1)
        entering = np.outer([row_in(shape, at) for at in positions], a_byte * (answer_tokens + rows))
        fillers = np.outer([scale.fillers(at) for at in positions], decode + prefill)
        begin = (answer_tokens + 1) * trips + queues + entering + fillers - before
        leaving = np.outer([row_out(shape, at) for at in positions], a_byte)
        given = np.where(np.arange(shape.end + 1)[:, None] < shape.end - 1, rows, 1.0)
        finish = before + leaving * (answer_tokens + given)
        for costs, bounds in ((begin, self._starts), (finish, self._stops)):
            at = np.arange(shape.end + 1)[:, None]
            costs[(at < bounds[:, 0]) | (at > bounds[:, 1])] = np.inf
        return begin, finish

    def _kept_for_the_head(self) -> Floats:
        """Memory of this node that segments before the end leave, where nobody else may run the head."""
        end = self._end
        reaching = self._stops[:, 1] == end
        reserve = np.zeros(len(self._offers))
        loaded = any(offer.loaded for offer, there in zip(self._offers, reaching, strict=True) if there)
        if not loaded and not (reaching & ~self._here).any() and end - 1 in self._scale.allowed:
            reserve[self._here] = self._scale.need(Positions(end - 1, end))
        reserve[~np.isfinite(self._budget)] = 0.0
        return reserve

    def _columns_of_peers(self) -> dict[str, list[int]]:
        columns: dict[str, list[int]] = {}
        for column, offer in enumerate(self._offers):
            if not offer.loaded:
                columns.setdefault(offer.peer.id, []).append(column)
        return columns


def _no_worse(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether `one` leaves every peer at least as much memory as `other` does."""
    return all(used <= other.get(peer, 0.0) for peer, used in one.items())


def _floats(values: list[float] | list[int]) -> Floats:
    return np.array(values, dtype=np.float64)


def _ints(bounds: list[Positions]) -> npt.NDArray[np.int64]:
    return np.array(bounds, dtype=np.int64).reshape(len(bounds), 2)
