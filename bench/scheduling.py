"""A simulator of swarms: the scheduler's plans against greedy and random placement.

Thousands of made-up nodes with the speeds, memories and links of home machines hold stretches of one large
model; some leave and come back between rounds, and a chosen share of them is short of memory. Every round
one of them asks, and each method places the request. Prints predicted milliseconds per token (median and
95th percentile), how many requests got a plan, and how much
CPU time planning took.

Usage: python -m bench.scheduling [--nodes N ...] [--rounds N] [--seed N]
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from app.core.scheduling.costs import stage_costs
from app.core.scheduling.offers import Offer, fits, kept_here, make_offers
from app.core.scheduling.planner import plan
from app.core.scheduling.request import Privacy, Request
from app.core.scheduling.result import Plan
from app.core.scheduling.shape import ModelShape, Positions, Scale, Segment
from app.core.scheduling.snapshot import Holding, Peer, Snapshot

LAYERS = 80
LAYER_BYTES = 500 << 20
BANDWIDTHS = (20e9, 40e9, 60e9, 100e9, 300e9, 900e9)
"""Bytes a second from memory: what decoding is bound by, from an old laptop to a large GPU."""
MEMORIES = (2, 4, 8, 8, 16, 24)
UPLINKS = (0.5e6, 1.5e6, 5e6, 12e6, 100e6)
SHARD = 4

Method = Callable[[Snapshot, Request, random.Random], float | None]


def model() -> ModelShape:
    """The shape of a 70B model in 4 bits."""
    return ModelShape(
        layer_bytes=(LAYER_BYTES,) * LAYERS,
        embedding_bytes=600 << 20,
        head_bytes=800 << 20,
        width=8192,
        cache_bytes=4096,
        window_bytes=100 << 20,
        cuts=tuple(range(LAYERS + 1)),
    )


def node(name: str, chance: random.Random) -> Peer:
    """A machine that holds a few shards in one or two stretches, as much as its memory lets it run."""
    memory = chance.choice(MEMORIES) << 30
    speed = LAYER_BYTES / chance.choice(BANDWIDTHS)
    room = max(SHARD, memory // LAYER_BYTES // SHARD * SHARD)
    stored = min(LAYERS, room * chance.choice((1, 1, 2)))
    first = min(max(0, chance.randrange(-stored, LAYERS, SHARD)), LAYERS - stored)
    last = first + stored
    part = Segment(first=first, last=last, embedding=first == 0, head=last == LAYERS)
    fits_loaded = stored * LAYER_BYTES <= memory
    return Peer(
        id=name,
        holdings=(Holding(part=part, loaded=fits_loaded and chance.random() < 0.6), Holding(part=part)),
        decode_seconds=speed,
        prefill_seconds=speed * chance.uniform(0.05, 0.3),
        round_trip=chance.lognormvariate(-3.4, 0.8),
        bandwidth=chance.choice(UPLINKS),
        load=chance.choice((0.0, 0.0, 0.0, 0.25, 0.5, 1.0)),
        queue_seconds=chance.choice((0.0, 0.0, 0.0, 0.5, 4.0)),
        memory_free=memory,
        load_rate=chance.choice((0.2e9, 1e9, 3e9)),
        trust=chance.uniform(0.3, 1.0),
        group=f"group{chance.randrange(200)}",
    )


def full_disk(peer: Peer) -> Peer:
    """The same machine with the whole model on its disk, which its memory cannot hold."""
    everything = Segment(first=0, last=LAYERS, embedding=True, head=True)
    return msgspec.structs.replace(peer, holdings=(Holding(part=everything),))


def full_memory(peer: Peer) -> Peer:
    """The same machine with the whole model on its disk and memory enough for all of it."""
    return msgspec.structs.replace(full_disk(peer), memory_free=1 << 40)


def asking(chance: random.Random) -> Peer:
    """The node that asks: a laptop with the embedding and sometimes the head."""
    held = [Holding(part=Segment(first=0, last=0, embedding=True))]
    if chance.random() < 0.5:
        held.append(Holding(part=Segment(first=LAYERS, last=LAYERS, head=True)))
    return Peer(
        id="here",
        holdings=tuple(held),
        decode_seconds=LAYER_BYTES / 40e9,
        prefill_seconds=LAYER_BYTES / 200e9,
        memory_free=4 << 30,
    )


def churned(peers: list[Peer], chance: random.Random) -> list[Peer]:
    """One round later: a tenth of the nodes went away or came back, and loads changed."""
    out = []
    for peer in peers:
        away = chance.random() < (0.08 if peer.reachable else 0.5)
        now = msgspec.structs.replace(
            peer,
            reachable=not away,
            load=chance.choice((0.0, 0.0, 0.25, 0.5, 1.0)),
            queue_seconds=chance.choice((0.0, 0.0, 0.0, 0.5, 4.0)),
        )
        out.append(now)
    return out


def scheduled(snapshot: Snapshot, request: Request, _: random.Random) -> float | None:
    found = plan(snapshot, request)
    return found.total_seconds / request.answer_tokens if isinstance(found, Plan) else None


def greedy(snapshot: Snapshot, request: Request, _: random.Random) -> float | None:
    """From the first layer on, whoever is quickest per layer, for as far as it reaches."""
    return placed(snapshot, request, lambda options: min(options, key=lambda option: option.per_layer))


def widest(snapshot: Snapshot, request: Request, _: random.Random) -> float | None:
    """From the first layer on, whoever reaches farthest; the quickest of those."""
    return placed(
        snapshot, request, lambda options: min(options, key=lambda option: (-option.at.stop, option.seconds))
    )


def at_random(snapshot: Snapshot, request: Request, chance: random.Random) -> float | None:
    """Anybody who can go on, for as far as it reaches."""
    return placed(snapshot, request, chance.choice)


@dataclass(frozen=True)
class Option:
    offer: Offer
    at: Positions
    seconds: float

    @property
    def per_layer(self) -> float:
        return self.seconds / (self.at.stop - self.at.start)


def placed(snapshot: Snapshot, request: Request, choose: Callable[[list[Option]], Option]) -> float | None:
    """Places segment after segment; a node that has served is not asked again."""
    scale = Scale(snapshot.shape, request.prompt_tokens + request.answer_tokens)
    here = next(peer for peer in snapshot.peers if peer.id == snapshot.here)
    head = any(holding.part.head for holding in here.holdings)
    offers = kept_here(make_offers(snapshot, request), snapshot.shape, embedding=True, head=head)
    used: set[str] = set()
    at, total = 0, 0.0
    while at < snapshot.shape.end:
        options = [option for offer in offers if (option := farthest(scale, offer, at, used, request))]
        if not options:
            return None
        chosen = choose(options)
        total += chosen.seconds
        at = chosen.at.stop
        if not chosen.offer.here:
            used.add(chosen.offer.peer.id)
    return total / request.answer_tokens


def farthest(scale: Scale, offer: Offer, at: int, used: set[str], request: Request) -> Option | None:
    """As far as the offer reaches from this position within its memory."""
    if offer.peer.id in used or not offer.starts.start <= at <= offer.starts.stop:
        return None
    for stop in range(offer.stops.stop, max(at, offer.stops.start - 1), -1):
        part = Positions(at, stop)
        if fits(offer, scale, part):
            seconds = stage_costs(scale, offer, part).total(request.answer_tokens)
            return Option(offer, part, seconds)
    return None


@dataclass
class Score:
    """What one method did over all rounds."""

    per_token: list[float] = field(default_factory=list)
    planning: list[float] = field(default_factory=list)
    asked: int = 0

    def row(self, name: str, both: list[float]) -> str:
        figures = sorted(both)
        p95 = figures[int(len(figures) * 0.95)] if figures else float("nan")
        middle = statistics.median(figures) if figures else float("nan")
        return (
            f"{name:<12}{middle * 1e3:>12.0f}{p95 * 1e3:>12.0f}{len(self.per_token):>9}/{self.asked:<6}"
            f"{statistics.median(self.planning) * 1e3:>10.1f}{max(self.planning) * 1e3:>10.1f}"
        )


METHODS: dict[str, Method] = {"scheduler": scheduled, "greedy": greedy, "widest": widest, "random": at_random}


def simulate(nodes: int, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    shape, peers = model(), [node(f"node{number}", chance) for number in range(nodes)]
    scores = {name: Score() for name in METHODS}
    common: dict[str, list[float]] = {name: [] for name in METHODS}
    exact = 0
    above: list[float] = []
    for _ in range(rounds):
        peers = churned(peers, chance)
        snapshot = Snapshot(here="here", shape=shape, peers=(asking(chance), *peers))
        request = Request(
            prompt_tokens=chance.choice((32, 500, 2000)),
            answer_tokens=chance.choice((64, 256, 800)),
            privacy=Privacy(minimum_trust=0.5),
        )
        answers: dict[str, float | None] = {}
        for name, method in METHODS.items():
            began = time.process_time()
            answers[name] = method(snapshot, request, chance)
            scores[name].planning.append(time.process_time() - began)
        for name, answer in answers.items():
            scores[name].asked += 1
            if answer is not None:
                scores[name].per_token.append(answer)
        if None not in answers.values():
            for name, answer in answers.items():
                common[name].append(answer or 0.0)
        found = plan(snapshot, request)
        if isinstance(found, Plan):
            exact += found.exact
            above.append(found.total_seconds / found.bound_seconds - 1.0)
    print(
        f"\n{nodes} nodes x {LAYERS} layers, {rounds} rounds; rounds where all methods found a plan: "
        f"{len(common['scheduler'])}; plans proven best: {exact} of {len(above)}, "
        f"the others at most {max(above, default=0.0):.1%} above the best"
    )
    print(f"{'':<12}{'median ms':>12}{'p95 ms':>12}{'plans':>12}{'':>4}{'CPU ms':>10}{'most':>10}")
    for name, score in scores.items():
        print(score.row(name, common[name]))


def planning_time(nodes: int, rounds: int, seed: int) -> None:
    """Milliseconds of planning for the worlds that make it hardest."""
    chance = random.Random(seed)
    peers = [node(f"node{number}", chance) for number in range(nodes)]
    private = Privacy(encrypted_pipeline=True)
    worlds: dict[str, tuple[list[Peer], Privacy]] = {
        "stretches of the model": (peers, Privacy()),
        "the whole model each, all of it in memory, end and beginning here": (
            [full_memory(peer) for peer in peers],
            private,
        ),
        "the whole model each, memory for a part of it": ([full_disk(peer) for peer in peers], Privacy()),
    }
    ends = (
        Holding(part=Segment(first=0, last=0, embedding=True)),
        Holding(part=Segment(first=LAYERS, last=LAYERS, head=True)),
    )
    here = msgspec.structs.replace(asking(chance), holdings=ends)
    print(f"\nPlanning with {nodes} nodes that hold ... (median and most CPU ms of {rounds})")
    for name, (held, privacy) in worlds.items():
        snapshot = Snapshot(here="here", shape=model(), peers=(here, *held))
        took = []
        for _ in range(rounds):
            began = time.process_time()
            plan(snapshot, Request(privacy=privacy))
            took.append(time.process_time() - began)
        print(f"  {name:<68}{statistics.median(took) * 1e3:>7.1f}{max(took) * 1e3:>7.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, nargs="+", default=[30, 100, 1000, 3000])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    for nodes in arguments.nodes:
        simulate(nodes, arguments.rounds, arguments.seed)
    planning_time(1000, 20, arguments.seed)


if __name__ == "__main__":
    main()
