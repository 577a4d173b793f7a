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
from app.core.scheduling.table import Columns, Floats, Table

BEAM: Final = 6
LOOKED_AT: Final = 4
"""Candidates per way that is kept: some are the same peers in another order."""
NEAREST: Final = 128
"""Offers that the beam tries before it tries all."""


class Link(NamedTuple):
    """One segment of a chain."""

    offer: Offer
    at: Positions


class Chain(NamedTuple):
    """Segments in order, and what they take in seconds. `exact` says that there is no better one.

    `standbys` has the ids of peers that could take over, for each segment.
    """

    links: tuple[Link, ...]
    seconds: float
    exact: bool
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
    exact = _within_memory(scale, _links(way))
    if not exact:
        nearest = [offers[column] for column in np.argsort(slack, kind="stable")[:NEAREST]]
        way = _beam(Table(scale, nearest, answer_tokens), beam)
        if way is None and len(nearest) < len(offers):
            way = _beam(table, beam)
        if way is None:
            return None
    links = _links(way)
    used = _memory_of(scale, links)
    others = tuple(table.standbys(link.offer, link.at, used, standbys) for link in links)
    return Chain(links, way.seconds, exact, others)


def _exact(table: Table) -> tuple[Way | None, Floats]:
    """The best way to the end if memory is only counted segment by segment, and by how much each offer
    failed to be part of a best way to somewhere.
    """
    ways = [NOWHERE]
    slack = np.full(len(table.offers), np.inf)
    best = table.begin[0].copy()
    narrow = np.flatnonzero(~table.roomy)
    for stop in table.borders:
        roomy = np.flatnonzero(table.roomy & table.stopping(stop))
        limited = narrow[table.stopping(stop)[narrow]]
        seconds = [best[roomy] + table.finish[stop, roomy]]
        block = table.block(ways[table.near(ways, stop, limited) :], stop, limited)
        seconds.append(block.min(axis=0, initial=np.inf) + table.finish[stop, limited])
        columns, arrivals = np.concatenate((roomy, limited)), np.concatenate(seconds)
        least = int(arrivals.argmin()) if arrivals.size else -1
        if least < 0 or not math.isfinite(arrivals[least]):
            continue
        slack[columns] = np.minimum(slack[columns], arrivals - arrivals[least])
        column = columns[least : least + 1]
        before = ways[int(table.block(ways, stop, column)[:, 0].argmin())]
        link = Link(table.offers[int(column[0])], Positions(before.at, stop))
        ways.append(Way(float(arrivals[least]), stop, link, before, {}))
        best = np.minimum(best, arrivals[least] + table.begin[stop])
    last = ways[-1]
    return (last if last.at == table.end else None), slack


def _beam(table: Table, keep: int) -> Way | None:
    """A good way to the end that keeps to every peer's memory, or None if none was found."""
    ways = [NOWHERE]
    for stop in table.borders:
        columns = np.flatnonzero(table.stopping(stop))
        before = ways[table.near(ways, stop, columns) :]
        ways += _spread(_arrivals(table, before, stop, columns, most=LOOKED_AT * keep), keep)
    at_end = [way for way in ways if way.at == table.end]
    return min(at_end, key=lambda way: way.seconds, default=None)


def _arrivals(table: Table, before: list[Way], stop: int, columns: Columns, *, most: int) -> list[Way]:
    """The cheapest `most` ways to `stop`, in order."""
    flat = (table.block(before, stop, columns, used=True) + table.finish[stop, columns]).ravel()
    most = min(flat.size, most)
    if most == 0:
        return []
    nearest = np.argpartition(flat, most - 1)[:most]
    out = []
    for index in nearest[np.argsort(flat[nearest], kind="stable")]:
        if not math.isfinite(flat[index]):
            break
        row, column = divmod(int(index), columns.size)
        link = Link(table.offers[int(columns[column])], Positions(before[row].at, stop))
        used = _with(table.scale, before[row].used, link)
        out.append(Way(float(flat[index]), stop, link, before[row], used))
    return out


def _spread(ways: list[Way], keep: int) -> list[Way]:
    """The cheapest; one that costs more than another is kept only if it spares some memory."""
    kept: list[Way] = []
    for way in ways:
        if len(kept) < keep and not any(_no_worse(other.used, way.used) for other in kept):
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
