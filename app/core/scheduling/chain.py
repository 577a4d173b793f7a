"""The chain of segments with the least predicted time, by dynamic programming over positions and peers.

A segment costs what leaves its beginning plus what leaves its end (`table.py`), so each position keeps the
best way to get there, and each offer the cheapest of its beginnings so far; ending somewhere is then one
vector operation over all offers. That finds the best chain as long as no peer is used for more than its
memory. Where one would be, positions keep several ways each, with the memory these have used (a beam), and
only the offers that came nearest to being the best anywhere are tried first.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from app.core.scheduling.offers import Offer
from app.core.scheduling.shape import Positions, Scale
from app.core.scheduling.table import Floats, Table

BEAM: Final = 6
LOOKED_AT: Final = 4
"""Candidates per way that is kept: some are the same peers in another order."""
FINE: Final = 40
"""Borders up to which the beam tries all of them first."""
NEAREST: Final = 64
"""Offers that the beam tries before it tries all."""


class Link(NamedTuple):
    """One segment of a chain."""

    offer: Offer
    at: Positions


class Chain(NamedTuple):
    """Segments in order, and what they take in seconds; none takes less than `bound`.

    `standbys` has the ids of peers that could take over, for each segment.
    """

    links: tuple[Link, ...]
    seconds: float
    bound: float
    standbys: tuple[tuple[str, ...], ...]


class Way(NamedTuple):
    """A chain up to a position: its last segment, the way before that, and the memory it uses by peer."""

    seconds: float
    at: int
    link: Link | None
    before: "Way | None"
    used: dict[str, float]


NOWHERE: Final = Way(0.0, 0, None, None, {})


def best_chain(
    scale: Scale, offers: list[Offer], *, answer_tokens: int, standbys: int = 0, beam: int = BEAM
) -> Chain | None:
    """The best chain over the whole model; None if there is none. `beam` bounds the ways that are kept."""
    if not offers:
        return None
    table = Table(scale, offers, answer_tokens)
    way, slack = _exact(table)
    if way is None:
        return None
    bound = way.seconds
    if not _within_memory(scale, _links(way)):
        nearest = [offers[column] for column in np.argsort(slack, kind="stable")[:NEAREST]]
        borders = _coarse(table.borders, nearest)
        way = _Beam(Table(scale, nearest, answer_tokens, borders=borders), beam).best()
        if way is None and (len(nearest) < len(offers) or len(borders) < len(table.borders)):
            way = _Beam(table, beam).best()
        if way is None:
            return None
    links = _links(way)
    used = _memory_of(scale, links)
    others = tuple(table.standbys(link.offer, link.at, used, standbys) for link in links)
    return Chain(links, way.seconds, bound, others)


def _coarse(borders: list[int], offers: list[Offer]) -> list[int]:
    """Of many borders, those where an offer begins or ends and every third of the others."""
    if len(borders) <= FINE:
        return borders
    bounds = {bound for offer in offers for bound in (offer.starts.start, offer.stops.stop)}
    return [at for number, at in enumerate(borders) if at in bounds or number % 3 == 0 or number == 0]


def _exact(table: Table) -> tuple[Way | None, Floats]:
    """The best way to the end if memory is only counted segment by segment, and by how much each offer
    failed to be part of a best way to somewhere.
    """
    ways: dict[int, Way] = {0: NOWHERE}
    reached = np.full(table.end + 1, np.inf)
    reached[0] = 0.0
    late = np.full((table.end + 1, len(table.offers)), np.inf)
    best = table.begin[0].copy()
    for stop in table.borders:
        arrivals = late[stop]
        roomy, limited = table.ending(stop)
        arrivals[roomy] = best[roomy] + table.finish[stop, roomy]
        if limited.size:
            arrivals[limited] = (
                table.beginnings(reached, stop, limited).min(axis=0) + table.finish[stop, limited]
            )
        column = int(arrivals.argmin())
        least = float(arrivals[column])
        if not math.isfinite(least):
            continue
        start = table.beginning(reached, stop, column)
        link = Link(table.offers[column], Positions(start, stop))
        ways[stop] = Way(least, stop, link, ways[start], {})
        reached[stop] = least
        arrivals -= least
        np.minimum(best, least + table.begin[stop], out=best)
    return ways.get(table.end), late.min(axis=0)


class _Beam:
    """Ways that keep to every peer's memory, `keep` of them at most to each position."""

    def __init__(self, table: Table, keep: int) -> None:
        self._table = table
        self._keep = keep
        most = 1 + keep * len(table.borders)
        self._ways: list[Way] = []
        self._at = np.zeros(most, dtype=np.intp)
        self._seconds = np.empty((most, len(table.offers)))
        self._room = np.empty((most, len(table.offers)))
        self._add(NOWHERE)

    def best(self) -> Way | None:
        """A good way to the end, or None if none was found."""
        table, last = self._table, list[Way]()
        for stop in table.borders:
            last = self._spread(self._arrivals(stop))
            for way in last:
                self._add(way)
        return min(last, key=lambda way: way.seconds, default=None)

    def _add(self, way: Way) -> None:
        row = len(self._ways)
        self._ways.append(way)
        self._at[row] = way.at
        self._seconds[row] = way.seconds + self._table.begin[way.at]
        self._room[row] = self._table.budget
        for peer, used in way.used.items():
            self._room[row, self._table.columns_of(peer)] -= used

    def _arrivals(self, stop: int) -> list[Way]:
        """The cheapest ways to `stop`, in order."""
        table, count = self._table, len(self._ways)
        columns = np.concatenate(table.ending(stop))
        if columns.size == 0:
            return []
        first = int(np.searchsorted(self._at[:count], table.earliest(stop, columns)))
        at = self._at[first:count]
        if at.size == 0:
            return []
        needs = table.needs[at, stop][:, None] + table.left_for_the_head(stop, columns)
        fits = needs <= self._room[first:count, columns]
        seconds = np.where(fits, self._seconds[first:count, columns], np.inf) + table.finish[stop, columns]
        seconds[table.forbidden[at, stop]] = np.inf
        flat = seconds.ravel()
        most = min(flat.size, LOOKED_AT * self._keep)
        nearest = np.argpartition(flat, most - 1)[:most]
        ways = []
        for index in nearest[np.argsort(flat[nearest], kind="stable")].tolist():
            if not math.isfinite(flat[index]):
                break
            row, column = divmod(index, columns.size)
            before = self._ways[first + row]
            link = Link(table.offers[columns[column]], Positions(before.at, stop))
            used = _with(table.scale, before.used, link)
            ways.append(Way(float(flat[index]), stop, link, before, used))
        return ways

    def _spread(self, ways: list[Way]) -> list[Way]:
        """The cheapest; one that costs more than another is kept only if it spares some memory."""
        kept: list[Way] = []
        for way in ways:
            if len(kept) < self._keep and not any(_no_worse(other.used, way.used) for other in kept):
                kept.append(way)
        return kept


def _with(scale: Scale, used: dict[str, float], link: Link) -> dict[str, float]:
    if link.offer.loaded or not math.isfinite(link.offer.budget):
        return used
    peer = link.offer.peer.id
    return used | {peer: used.get(peer, 0.0) + scale.need(link.at)}


def _no_worse(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether `one` leaves every peer at least as much memory as `other` does."""
    return all(used <= other.get(peer, 0.0) for peer, used in one.items())


def _links(way: Way) -> tuple[Link, ...]:
    links: list[Link] = []
    step: Way | None = way
    while step is not None and step.link is not None:
        links.append(step.link)
        step = step.before
    return tuple(reversed(links))


def _memory_of(scale: Scale, links: tuple[Link, ...]) -> dict[str, float]:
    used: dict[str, float] = {}
    for link in links:
        used = _with(scale, used, link)
    return used


def _within_memory(scale: Scale, links: tuple[Link, ...]) -> bool:
    used = _memory_of(scale, links)
    return all(used.get(link.offer.peer.id, 0.0) <= link.offer.budget for link in links)
