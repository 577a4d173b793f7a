"""Random little worlds for planning, and the best chain in them found by trying everything."""

import math
from collections.abc import Iterator

from hypothesis import strategies as st

from app.core.scheduling.costs import STAGE_SECONDS, TOKEN_BYTES
from app.core.scheduling.request import Privacy, Request
from app.core.scheduling.shape import ModelShape, Segment
from app.core.scheduling.snapshot import Holding, Peer, Snapshot

HERE = "here"


def segment(n_layers: int, start: int, stop: int) -> Segment:
    """Units `start` up to `stop`: 0 is the embedding, `n_layers + 1` the head."""
    first, last = (max(0, min(at - 1, n_layers)) for at in (start, stop))
    return Segment(first=first, last=last, embedding=start == 0, head=stop == n_layers + 2)


def units(shape: ModelShape, part: Segment) -> tuple[int, int]:
    start = 0 if part.embedding else part.first + 1
    return start, (len(shape.layer_bytes) + 2 if part.head else part.last + 1)


@st.composite
def shapes(draw: st.DrawFn, most_layers: int = 4) -> ModelShape:
    n_layers = draw(st.integers(2, most_layers))
    return ModelShape(
        layer_bytes=tuple(draw(st.lists(st.integers(50, 150), min_size=n_layers, max_size=n_layers))),
        embedding_bytes=draw(st.integers(0, 50)),
        head_bytes=draw(st.integers(0, 200)),
        width=draw(st.integers(1, 64)),
        cache_bytes=draw(st.sampled_from([0, 0, 1])),
        window_bytes=draw(st.integers(0, 20)),
        cuts=draw(st.sampled_from([tuple(range(n_layers + 1))] * 3 + [tuple(range(1, n_layers)), (0, 2)])),
        forbidden_lengths=draw(st.sampled_from([(), (), (1,), (2,)])),
        start_multiple=draw(st.sampled_from([1, 1, 2])),
    )


@st.composite
def holdings(draw: st.DrawFn, n_layers: int) -> tuple[Holding, ...]:
    out = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.sampled_from([0, 0, 1, *range(n_layers + 2)]))
        stop = draw(st.sampled_from([n_layers + 2, n_layers + 1, *range(start + 1, n_layers + 3)]))
        part = segment(n_layers, min(start, stop - 1), stop)
        out.append(Holding(part=part, loaded=draw(st.booleans())))
    return tuple(out)


@st.composite
def peers(draw: st.DrawFn, name: str, n_layers: int, *, memory: bool) -> Peer:
    seconds = st.sampled_from([0.001, 0.0017, 0.004, 0.011])
    return Peer(
        id=name,
        holdings=draw(holdings(n_layers)),
        decode_seconds=draw(seconds),
        prefill_seconds=draw(seconds),
        round_trip=draw(st.sampled_from([0.0, 0.001, 0.013, 0.05])),
        bandwidth=draw(st.sampled_from([1e4, 1e6, math.inf])),
        load=draw(st.sampled_from([0.0, 0.5, 1.0])),
        queue_seconds=draw(st.sampled_from([0.0, 0.3])),
        memory_free=draw(st.sampled_from([None, 120, 200, 280, 350, 500, 900])) if memory else None,
        load_rate=draw(st.sampled_from([1e3, 1e5])),
        trust=draw(st.sampled_from([0.2, 0.9])),
        group=draw(st.sampled_from(["", "a", "b"])),
        allowed=draw(st.sampled_from([True, True, True, False])),
        reachable=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def snapshots(draw: st.DrawFn, *, memory: bool = True, most_layers: int = 4, most_peers: int = 3) -> Snapshot:
    shape = draw(shapes(most_layers))
    others = [f"peer{number}" for number in range(draw(st.integers(1, most_peers)))]
    made = tuple(draw(peers(name, len(shape.layer_bytes), memory=memory)) for name in (HERE, *others))
    return Snapshot(here=HERE, shape=shape, peers=made)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    wish = st.sampled_from(["off", "off", "preferred", "required"])
    return Request(
        prompt_tokens=draw(st.sampled_from([0, 1, 40, 100])),
        answer_tokens=draw(st.sampled_from([1, 30])),
        privacy=Privacy(
            embedding=draw(wish),
            head=draw(wish),
            encrypted_pipeline=draw(st.sampled_from([False] * 4 + [True])),
            minimum_trust=draw(st.sampled_from([0.0, 0.0, 0.5])),
        ),
    )


def usable(peer: Peer, request: Request) -> bool:
    if peer.id == HERE:
        return True
    return peer.allowed and peer.reachable and peer.trust >= request.privacy.minimum_trust


class BruteForce:
    """Every chain of a snapshot, priced by formulas of its own."""

    def __init__(self, snapshot: Snapshot, request: Request) -> None:
        self.shape, self.request = snapshot.shape, request
        self.n = len(snapshot.shape.layer_bytes)
        self.peers = [peer for peer in snapshot.peers if usable(peer, request)]
        self.mean = sum(self.shape.layer_bytes) / self.n

    def best(self, *, embedding: bool, head: bool) -> float | None:
        """The least seconds of any chain, with embedding and head kept here or not."""
        here_only = {0} if embedding else set()
        here_only |= {self.n + 1} if head else set()
        return min(self._from(0, here_only, {}), default=None)

    def _from(self, start: int, here_only: set[int], used: dict[str, float]) -> Iterator[float]:
        if start == self.n + 2:
            yield 0.0
            return
        for stop in range(start + 1, self.n + 3):
            for peer, loaded in self._runners(start, stop, here_only):
                need = 0.0 if loaded else self.need(start, stop)
                taken = used.get(peer.id, 0.0) + need
                if peer.memory_free is None or need == 0.0 or taken <= peer.memory_free:
                    price = self.seconds(peer, start, stop, loaded=loaded)
                    for rest in self._from(stop, here_only, used | {peer.id: taken}):
                        yield price + rest

    def _runners(self, start: int, stop: int, here_only: set[int]) -> Iterator[tuple[Peer, bool]]:
        if not self.allowed(start, stop):
            return
        for peer in self.peers:
            here = peer.id == HERE
            if not here and here_only & set(range(start, stop)):
                continue
            held = {unit for h in peer.holdings for unit in range(*units(self.shape, h.part))}
            if (start, stop) == (0, 1):
                if here and 0 in held:
                    yield peer, True
                continue
            if set(range(start, stop)) <= held:
                yield peer, False
            if any(h.loaded and units(self.shape, h.part) == (start, stop) for h in peer.holdings):
                yield peer, True

    def allowed(self, start: int, stop: int) -> bool:
        borders = {0, self.n + 2} | {cut + 1 for cut in self.shape.cuts}
        layers = len([unit for unit in range(start, stop) if 1 <= unit <= self.n])
        whole = (start, stop) == (0, self.n + 2)
        forbidden = layers + self.fillers(start) in self.shape.forbidden_lengths
        other_length = layers + self.fillers(start) != self.n
        return {start, stop} <= borders and (whole or not (forbidden and other_length))

    def fillers(self, start: int) -> int:
        return (start - 1) % self.shape.start_multiple if 1 <= start <= self.n else 0

    def bytes_of(self, unit: int) -> int:
        if unit == 0:
            return self.shape.embedding_bytes
        return self.shape.head_bytes if unit == self.n + 1 else self.shape.layer_bytes[unit - 1]

    def need(self, start: int, stop: int) -> float:
        tokens = self.request.prompt_tokens + self.request.answer_tokens
        layers = [unit for unit in range(start, stop) if 1 <= unit <= self.n]
        weights = sum(self.bytes_of(unit) for unit in range(start, stop))
        cache = len(layers) * self.shape.cache_bytes * tokens
        return weights + cache + self.fillers(start) * self.mean + self.shape.window_bytes

    def seconds(self, peer: Peer, start: int, stop: int, *, loaded: bool) -> float:
        assert peer.decode_seconds is not None
        assert peer.prefill_seconds is not None
        here = peer.id == HERE
        layers = sum(self.bytes_of(unit) for unit in range(start, stop) if 1 <= unit <= self.n) / self.mean
        layers += self.fillers(start)
        head = self.shape.head_bytes / self.mean if stop == self.n + 2 else 0.0
        trip = STAGE_SECONDS + (0.0 if here else peer.round_trip)
        vector = self.shape.width * self.shape.activation_bytes
        into, out = (TOKEN_BYTES if start == 0 else vector), (TOKEN_BYTES if stop == self.n + 2 else vector)
        wire = 0.0 if here else 1 / peer.bandwidth
        rows = max(1, self.request.prompt_tokens)
        rows_out = rows if stop <= self.n else 1
        slow = 1 + peer.load
        a_token = trip + (layers + head) * peer.decode_seconds * slow + (into + out) * wire
        prompt = trip + rows * layers * peer.prefill_seconds * slow + (rows * into + rows_out * out) * wire
        load = 0.0 if loaded else sum(self.bytes_of(unit) for unit in range(start, stop)) / peer.load_rate
        return peer.queue_seconds + load + prompt + self.request.answer_tokens * a_token
