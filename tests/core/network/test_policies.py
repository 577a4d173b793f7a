"""Backoff, heartbeat, conduct and rate limits: policies driven by a clock the test holds."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.network.backoff import LONGEST_SECONDS, Backoff
from app.core.network.conduct import FIRST_BAN_SECONDS, LONGEST_BAN_SECONDS, Conduct, Offence, RateLimit
from app.core.network.heartbeat import Frozen, Heartbeat, SendPing, Wait


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_and_stay_under_five_minutes() -> None:
    backoff, waits = Backoff(), []
    for _ in range(40):
        backoff = backoff.failed(0.0, lambda: 1.0)
        waits.append(backoff.until)
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_SECONDS


@given(st.integers(0, 50), st.floats(0, 1))
def test_jitter_spreads_over_the_upper_half(failures: int, luck: float) -> None:
    wait = Backoff(failures).failed(0.0, lambda: luck).until
    longest = Backoff(failures).failed(0.0, lambda: 1.0).until
    assert longest / 2 <= wait <= longest


def heart() -> Heartbeat:
    return Heartbeat(interval=1.0, patience=4.0, now=0.0)


def test_a_healthy_peer_is_pinged_once_a_second() -> None:
    pulse, now, pings = heart(), 0.0, 0
    while now < 10:
        match pulse.next(now):
            case SendPing():
                pings += 1
                now += 0.01
                pulse.answered(now)
            case Wait(seconds):
                now += seconds
            case Frozen():
                raise AssertionError
    assert 9 <= pings <= 11
    assert pulse.rtt is not None
    assert 0.009 < pulse.rtt < 0.011


def test_a_frozen_peer_is_noticed_within_five_seconds_of_its_last_answer() -> None:
    pulse = heart()
    assert pulse.next(0.0) == SendPing()
    pulse.answered(0.1)
    now = 0.1
    while not isinstance(action := pulse.next(now), Frozen):
        if isinstance(action, Wait):
            now += action.seconds
    assert now - 0.1 <= 5.01


def test_a_slow_answer_is_waited_for() -> None:
    pulse = heart()
    pulse.next(0.0)
    assert pulse.next(3.9) == Wait(4.0 - 3.9)


def test_when_this_machine_slept_the_peer_gets_its_full_time_again() -> None:
    pulse = heart()
    pulse.next(0.0)
    assert isinstance(pulse.next(3600.0), Wait)
    assert isinstance(pulse.next(3604.0), Frozen)


def test_broken_frames_ban_a_peer_and_the_ban_ends() -> None:
    clock = Clock()
    conduct = Conduct(clock=clock)
    assert conduct.offend("evil", Offence.BAD_FRAME) is None
    assert conduct.offend("evil", Offence.BAD_FRAME) is None
    until = conduct.offend("evil", Offence.BAD_FRAME)
    assert until == clock.now + FIRST_BAN_SECONDS
    assert conduct.banned("evil")
    assert not conduct.banned("honest")
    clock.now += FIRST_BAN_SECONDS
    assert not conduct.banned("evil")


def test_bans_double_up_to_a_day() -> None:
    clock = Clock()
    conduct = Conduct(clock=clock)
    lengths = []
    for _ in range(12):
        until = None
        while until is None:
            until = conduct.offend("evil", Offence.MISATTRIBUTED)
        lengths.append(until - clock.now)
        clock.now = until
    assert lengths[1] == 2 * lengths[0]
    assert lengths[-1] == LONGEST_BAN_SECONDS


def test_a_rare_slip_is_forgiven_with_time() -> None:
    clock = Clock()
    conduct = Conduct(clock=clock)
    for _ in range(200):
        assert conduct.offend("clumsy", Offence.BAD_MESSAGE) is None
        clock.now += 300
    assert conduct.score("clumsy") == 1.0


def test_strangers_cannot_fill_the_memory_and_bans_are_kept() -> None:
    conduct = Conduct(clock=Clock())
    while not conduct.banned("evil"):
        conduct.offend("evil", Offence.FORGED)
    for number in range(25_000):
        conduct.offend(f"stranger {number}", Offence.REPLAYED)
    assert len(conduct._records) <= 10_000
    assert conduct.banned("evil")


def test_a_rate_limit_allows_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    limit = RateLimit(rate=10, burst=20, clock=clock)
    assert sum(limit.take() for _ in range(100)) == 20
    clock.now += 1
    assert sum(limit.take() for _ in range(100)) == 10
