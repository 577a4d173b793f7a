"""The planner's chains against every chain there is, on worlds small enough to try them all."""

import pytest
from hypothesis import HealthCheck, given, settings

from app.core.scheduling.chain import best_chain
from app.core.scheduling.offers import kept_here, make_offers
from app.core.scheduling.request import Request
from app.core.scheduling.shape import Scale
from app.core.scheduling.snapshot import Snapshot
from tests.support.scheduling_worlds import BruteForce, requests, snapshots

RUNS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compared(snapshot: Snapshot, request: Request) -> tuple[float | None, float | None, bool]:
    """The planner's best and the very best, and whether the planner calls its own the best."""
    embedding, head = (wish == "required" for wish in request.privacy.wishes)
    tokens = request.prompt_tokens + request.answer_tokens
    offers = kept_here(make_offers(snapshot, request), snapshot.shape, embedding=embedding, head=head)
    found = best_chain(Scale(snapshot.shape, tokens), offers, answer_tokens=request.answer_tokens)
    best = BruteForce(snapshot, request).best(embedding=embedding, head=head)
    return (found.seconds if found else None), best, bool(found and found.seconds == found.bound)


@RUNS
@given(snapshots(memory=False), requests())
def test_with_memory_enough_no_chain_is_better(snapshot: Snapshot, request: Request) -> None:
    found, best, exact = compared(snapshot, request)
    assert found == (None if best is None else pytest.approx(best, rel=1e-9))
    assert exact or found is None


@RUNS
@given(snapshots(), requests())
def test_the_beam_finds_the_best_of_small_worlds(snapshot: Snapshot, request: Request) -> None:
    found, best, _ = compared(snapshot, request)
    assert found == (None if best is None else pytest.approx(best, rel=1e-9))
