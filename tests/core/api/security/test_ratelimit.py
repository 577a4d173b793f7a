"""Requests a minute per address."""

import pytest

from app.core.api.problems import RateLimited
from app.core.api.security.ratelimit import CLEANUP_SECONDS, MAX_BUCKETS, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_is_served_at_once_and_then_evenly() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=60, clock=clock)
    for _ in range(60):
        limiter.take("a")
    with pytest.raises(RateLimited, match="60 requests a minute") as caught:
        limiter.take("a")
    assert caught.value.retry_after == 1
    clock.now += 1
    limiter.take("a")
    with pytest.raises(RateLimited):
        limiter.take("a")


def test_retry_after_is_when_the_next_request_passes() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=2, clock=clock)
    limiter.take("a")
    limiter.take("a")
    with pytest.raises(RateLimited) as caught:
        limiter.take("a")
    assert caught.value.retry_after == 30
    clock.now += 30
    limiter.take("a")


def test_addresses_do_not_share() -> None:
    limiter = RateLimiter(per_minute=1, clock=Clock())
    limiter.take("a")
    limiter.take("b")


def test_zero_means_no_limit() -> None:
    limiter = RateLimiter(per_minute=0, clock=Clock())
    for _ in range(1000):
        limiter.take("a")
    assert len(limiter) == 0


def test_idle_addresses_are_forgotten() -> None:
    clock = Clock()
    limiter = RateLimiter(per_minute=60, clock=clock)
    for index in range(100):
        limiter.take(str(index))
    clock.now += CLEANUP_SECONDS + 1
    limiter.take("new")
    assert len(limiter) == 1


def test_the_table_is_bounded() -> None:
    limiter = RateLimiter(per_minute=60, clock=Clock())
    for index in range(MAX_BUCKETS + 50):
        limiter.take(str(index))
    assert len(limiter) <= MAX_BUCKETS
