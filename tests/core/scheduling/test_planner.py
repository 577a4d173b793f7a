import math

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.scheduling.planner import plan
from app.core.scheduling.request import Cached, Privacy, Request
from app.core.scheduling.result import NoPlan, Plan
from app.core.scheduling.shape import ModelShape, Segment
from app.core.scheduling.snapshot import Holding, Peer, Snapshot
from tests.support.scheduling_worlds import HERE, BruteForce, requests, snapshots, units, usable

RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WHOLE = Segment(first=0, last=6, embedding=True, head=True)
SHAPE = ModelShape(
    layer_bytes=(100,) * 6, embedding_bytes=40, head_bytes=60, width=8, cuts=tuple(range(7)), window_bytes=1
)
SHARED = Privacy(embedding="off", head="off")


def part(first: int, last: int, *, embedding: bool = False, head: bool = False) -> Segment:
    return Segment(first=first, last=last, embedding=embedding, head=head)


def peer(name: str, *parts: Segment, loaded: bool = True, **facts: object) -> Peer:
    speeds = {"decode_seconds": 0.01, "prefill_seconds": 0.001, "round_trip": 0.02}
    held = tuple(Holding(part=held, loaded=loaded) for held in parts)
    return Peer(**({"id": name, "holdings": held} | speeds | facts))


def world(*peers: Peer, shape: ModelShape = SHAPE) -> Snapshot:
    return Snapshot(here=HERE, shape=shape, peers=peers)


def planned(*peers: Peer, request: Request | None = None, shape: ModelShape = SHAPE) -> Plan:
    found = plan(world(*peers, shape=shape), request or Request())
    assert isinstance(found, Plan), found.sentence
    return found


def runs(found: Plan) -> list[str]:
    return [stage.peer for stage in found.stages]


@RUNS
@given(snapshots(), requests())
def test_every_plan_keeps_the_rules(snapshot: Snapshot, request: Request) -> None:
    found = plan(snapshot, request)
    if isinstance(found, NoPlan):
        assert found.sentence.endswith(".")
        assert found.gaps
        return
    by_id = {peer.id: peer for peer in snapshot.peers}
    rules, used, at = BruteForce(snapshot, request), dict.fromkeys(by_id, 0.0), 0
    for stage in found.stages:
        start, stop = units(snapshot.shape, stage.part)
        assert start == at
        at = stop
        assert rules.allowed(start, stop)
        for name in (stage.peer, *stage.standbys):
            assert usable(by_id[name], request)
            held = {u for h in by_id[name].holdings for u in range(*units(snapshot.shape, h.part))}
            assert set(range(start, stop)) <= held
        assert stage.peer not in stage.standbys
        assert len(set(stage.standbys)) == len(stage.standbys) <= request.standbys
        if not stage.loaded:
            used[stage.peer] += rules.need(start, stop)
    assert at == len(snapshot.shape.layer_bytes) + 2
    for name, taken in used.items():
        assert taken <= (by_id[name].memory_free or math.inf)
    seen = {sight.peer: sight for sight in found.sights}
    assert set(seen) == {HERE, *runs(found)}
    embedding, head = request.privacy.wishes
    for name, sight in seen.items():
        if name != HERE and "required" in (embedding, head):
            assert not sight.text
            assert not (sight.prompt_tokens and embedding == "required")
            assert not (sight.answer_tokens and embedding == head == "required")


@RUNS
@given(snapshots(memory=False), requests(), st.sampled_from([1.3, 4.0]))
def test_nobody_gets_slower_and_the_plan_faster(snapshot: Snapshot, request: Request, factor: float) -> None:
    def slowed(one: Peer) -> Peer:
        assert one.decode_seconds
        return msgspec.structs.replace(
            one, decode_seconds=one.decode_seconds * factor, round_trip=one.round_trip * factor
        )

    before = plan(snapshot, request)
    after = plan(msgspec.structs.replace(snapshot, peers=tuple(map(slowed, snapshot.peers))), request)
    assert type(before) is type(after)
    if isinstance(before, Plan) and isinstance(after, Plan) and before.kind == after.kind:
        assert after.total_seconds >= before.total_seconds * (1 - 1e-9)


@RUNS
@given(snapshots(memory=False, most_peers=4), requests())
def test_one_peer_less_is_never_better(snapshot: Snapshot, request: Request) -> None:
    fewer = msgspec.structs.replace(snapshot, peers=snapshot.peers[:-1])
    before, after = plan(snapshot, request), plan(fewer, request)
    if isinstance(after, Plan):
        assert isinstance(before, Plan)
        if before.kind == after.kind:
            assert before.total_seconds <= after.total_seconds * (1 + 1e-9)


@given(snapshots(), requests())
def test_planning_is_deterministic(snapshot: Snapshot, request: Request) -> None:
    assert plan(snapshot, request) == plan(snapshot, request)


def test_the_whole_model_here_comes_first_even_if_a_peer_is_faster() -> None:
    found = planned(peer(HERE, WHOLE, decode_seconds=0.1), peer("fast", WHOLE, decode_seconds=1e-6))
    assert (found.kind, runs(found), found.round_trips) == ("here", [HERE], 0)
    assert found.seconds_per_token == pytest.approx(0.1 * 6.6)
    assert [sight.peer for sight in found.sights] == [HERE]


def test_the_whole_model_on_the_best_peer_comes_next() -> None:
    others = [
        peer("slow", WHOLE, decode_seconds=0.02),
        peer("fast", WHOLE),
        peer("far", WHOLE, queue_seconds=90.0),
    ]
    found = planned(peer(HERE, WHOLE, loaded=False, memory_free=100), *others)
    assert (found.kind, runs(found), found.round_trips) == ("peer", ["fast"], 0)
    assert found.stages[0].standbys == ("slow", "far")
    assert found.sights[1].text
    assert found.seconds_per_token == pytest.approx(0.066)


def test_the_whole_model_elsewhere_is_not_taken_where_tokens_must_stay_here() -> None:
    here = peer(HERE, part(0, 0, embedding=True), part(6, 6, head=True))
    found = planned(
        here, peer("fast", WHOLE, loaded=False), request=Request(privacy=Privacy(encrypted_pipeline=True))
    )
    assert runs(found) == [HERE, "fast", HERE]
    assert found.round_trips == 1
    elsewhere = found.sights[1]
    assert (elsewhere.text, elsewhere.prompt_tokens, elsewhere.answer_tokens) == (False, False, False)
    assert elsewhere.hidden == ((0, 6),)


def test_a_preference_for_privacy_yields_where_nothing_else_is_possible() -> None:
    here = peer(HERE, part(0, 0, embedding=True))
    rest = peer("rest", part(3, 6, head=True))
    kept = planned(here, peer("first", part(0, 3)), rest)
    assert runs(kept) == [HERE, "first", "rest"]
    bare = peer(HERE, part(1, 2))
    given = planned(bare, peer("first", part(0, 3, embedding=True)), rest)
    assert runs(given) == ["first", "rest"]
    refused = plan(
        world(bare, peer("first", part(0, 3, embedding=True)), rest),
        Request(privacy=Privacy(embedding="required")),
    )
    assert isinstance(refused, NoPlan)
    assert refused.reason == "privacy"
    assert "the embedding" in refused.sentence


def test_a_longer_detour_is_worth_it_only_if_the_peer_is_that_much_faster() -> None:
    middle = peer("c", part(1, 5), loaded=False, decode_seconds=0.001)
    request = Request(privacy=SHARED, answer_tokens=1000)
    wide = [
        peer("a", part(0, 3, embedding=True), loaded=False),
        peer("b", part(3, 6, head=True), loaded=False),
    ]
    near = msgspec.structs.replace(middle, round_trip=0.001)
    far = msgspec.structs.replace(middle, round_trip=0.1)
    assert runs(planned(*wide, near, request=request)) == ["a", "c", "b"]
    assert runs(planned(*wide, far, request=request)) == ["a", "b"]


def test_a_session_goes_where_its_cache_is() -> None:
    first = part(0, 3, embedding=True)
    rest = peer("rest", part(3, 6, head=True))
    two = [peer("one", first), peer("two", first)]
    request = Request(privacy=SHARED, prompt_tokens=2000, answer_tokens=10)
    for name in ("one", "two"):
        kept = msgspec.structs.replace(request, cached=(Cached(peer=name, part=first, tokens=1900),))
        found = planned(*two, rest, request=kept)
        assert runs(found) == [name, "rest"]
        assert found.first_token_seconds < planned(*two, rest, request=request).first_token_seconds


def test_standbys_of_another_group_come_first() -> None:
    first = part(0, 3, embedding=True)
    others = [peer("twin", first, group="home"), peer("stranger", first, group="away", round_trip=0.3)]
    found = planned(
        peer("best", first, group="home", round_trip=0.0),
        *others,
        peer("rest", part(3, 6, head=True)),
        request=Request(privacy=SHARED),
    )
    assert runs(found) == ["best", "rest"]
    assert found.stages[0].standbys == ("stranger", "twin")


def test_a_machine_short_of_memory_is_not_used_for_more_than_it_has() -> None:
    everything = [
        peer(name, WHOLE, loaded=False, memory_free=340, decode_seconds=s)
        for name, s in (("a", 0.001), ("b", 0.002), ("c", 0.003))
    ]
    found = planned(*everything, request=Request(privacy=SHARED))
    assert sorted(runs(found)) == ["a", "b", "c"]
    assert not found.exact
    assert found.bound_seconds < found.total_seconds


def test_memory_that_the_head_will_need_here_is_not_spent_on_layers() -> None:
    here = peer(HERE, WHOLE, loaded=False, memory_free=300, decode_seconds=1e-6)
    found = planned(here, peer("big", part(0, 6)), request=Request(privacy=Privacy(encrypted_pipeline=True)))
    assert found.stages[0].peer == found.stages[-1].peer == HERE
    assert found.stages[-1].part.head


def test_what_is_missing_is_named_with_those_who_had_it() -> None:
    found = plan(
        world(
            peer("a", part(0, 2, embedding=True)),
            peer("gone", part(2, 4), reachable=False),
            peer("stranger", part(3, 4), trust=0.1),
            peer("barred", part(2, 3), allowed=False),
            peer("b", part(4, 6, head=True)),
        ),
        Request(privacy=Privacy(minimum_trust=0.5)),
    )
    assert isinstance(found, NoPlan)
    assert found.reason == "missing"
    assert [(gap.part.first, gap.part.last) for gap in found.gaps] == [(2, 4)]
    assert {(holder.peer, holder.why) for holder in found.gaps[0].holders} == {
        ("gone", "unreachable"),
        ("stranger", "not trusted"),
        ("barred", "not allowed"),
    }
    assert found.sentence == (
        "Parts of the model are missing: layers 2 to 3 (held by gone (unreachable), stranger (not trusted), "
        "barred (not allowed))."
    )


def test_what_nobody_holds_is_said_so() -> None:
    found = plan(world(peer("a", part(0, 5, embedding=True))), Request())
    assert isinstance(found, NoPlan)
    assert found.sentence == (
        "Parts of the model are missing: layer 5, the output head (held by nobody known)."
    )


def test_a_model_that_cannot_be_cut_needs_one_node_for_all_of_it() -> None:
    shape = msgspec.structs.replace(SHAPE, cuts=())
    halves = peer("a", part(0, 3, embedding=True)), peer("b", part(3, 6, head=True))
    found = plan(world(*halves, shape=shape), Request())
    assert isinstance(found, NoPlan)
    assert found.reason == "whole only"
    assert planned(*halves, peer("c", WHOLE), shape=shape).kind == "peer"


def test_memory_is_named_where_it_is_what_is_lacking() -> None:
    small = [peer(name, WHOLE, loaded=False, memory_free=250) for name in ("a", "b")]
    found = plan(world(*small), Request(privacy=SHARED))
    assert isinstance(found, NoPlan)
    assert found.reason == "no chain"
    assert "a (short of memory)" in found.sentence


def test_unmeasured_speeds_are_assumed_and_said_so() -> None:
    unknown = peer("a", WHOLE, decode_seconds=None, prefill_seconds=None)
    assert not planned(unknown).measured
    assert planned(peer("b", WHOLE)).measured


def test_impossible_figures_are_refused() -> None:
    for wrong in ({"decode_seconds": math.nan}, {"round_trip": -1.0}, {"load": math.inf}, {"bandwidth": 0.0}):
        with pytest.raises(ValueError, match="peer's"):
            peer("a", WHOLE, **wrong)


def test_a_deep_model_is_spread_over_machines_that_store_more_than_they_can_load() -> None:
    shape = msgspec.structs.replace(SHAPE, layer_bytes=(100,) * 60, cuts=tuple(range(61)))
    whole = Segment(first=0, last=60, embedding=True, head=True)
    memory = {f"m{number}": 1000 + 100 * number for number in range(6)}
    machines = [
        peer(name, whole, loaded=False, memory_free=room, decode_seconds=0.001 * (number + 1))
        for number, (name, room) in enumerate(memory.items())
    ]
    found = planned(*machines, request=Request(privacy=SHARED), shape=shape)
    used = dict.fromkeys(memory, 0)
    at = 0
    for stage in found.stages:
        assert stage.part.first == at
        at = stage.part.last
        used[stage.peer] += (
            100 * (at - stage.part.first) + 40 * stage.part.embedding + 60 * stage.part.head + 1
        )
    assert at == 60
    assert all(used[name] <= memory[name] for name in memory)
