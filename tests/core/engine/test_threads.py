from pathlib import Path

from app.core.engine.threads import Load, LoadMeter, ThreadPolicy, scheduler_waits


def play(policy: ThreadPolicy, *samples: tuple[float, float | None], active: int = 1) -> list[int]:
    return [policy.threads_for(Load(others=others, waiting=waiting), active) for others, waiting in samples]


def test_a_busy_core_is_left_alone_once_it_is_busy_for_a_while() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert play(policy, (1.0, 0.5), (1.0, 0.5), (1.0, 0.0)) == [2, 1, 1]


def test_a_short_burst_changes_nothing() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert play(policy, (1.0, 0.5), (0.0, 0.0), (1.0, 0.5), (0.0, 0.0)) == [2, 2, 2, 2]


def test_cores_are_taken_back_only_after_they_stay_free() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert play(policy, *[(1.0, 0.5)] * 2, *[(0.0, 0.0)] * 4) == [2, 1, 1, 1, 2, 2]


def test_load_about_halfway_between_two_counts_does_not_make_it_swing() -> None:
    policy = ThreadPolicy(cores=4, most=4)
    assert set(play(policy, *[(0.4, 0.5), (0.49, 0.5)] * 10)) == {4}
    lowered = play(policy, *[(1.0, 0.5)] * 2)[-1]
    assert set(play(policy, *[(0.41, 0.0), (0.55, 0.5)] * 10)) == {lowered}


def test_others_that_never_compute_at_the_same_time_cost_nothing() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert set(play(policy, *[(1.0, 0.01)] * 10)) == {2}


def test_without_a_measure_of_waiting_load_alone_decides() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert play(policy, *[(1.0, None)] * 3) == [2, 1, 1]


def test_workers_that_compute_together_share_the_cores_at_once() -> None:
    policy = ThreadPolicy(cores=8, most=8)
    assert play(policy, (0.0, 0.0), active=3) == [2]
    assert play(policy, (0.0, 0.0), active=0) == [8]
    assert play(policy, (0.0, 0.0), active=20) == [1]


def test_one_thread_always_remains() -> None:
    policy = ThreadPolicy(cores=2, most=2)
    assert play(policy, *[(2.0, 0.9)] * 5)[-1] == 1


def test_the_meter_leaves_our_own_workers_out() -> None:
    meter = LoadMeter()
    assert meter.sample(now=10.0, busy=100.0, workers=50.0, waits=(0, 0)) is None
    load = meter.sample(now=12.0, busy=104.0, workers=53.0, waits=(900, 100))
    assert load == Load(others=0.5, waiting=0.1)


def test_the_meter_bears_counters_that_shrink_or_are_missing() -> None:
    meter = LoadMeter()
    meter.sample(now=1.0, busy=10.0, workers=5.0, waits=(10, 10))
    assert meter.sample(now=2.0, busy=11.0, workers=0.0, waits=(5, 5)) == Load(others=1.0)
    assert meter.sample(now=3.0, busy=12.0, workers=1.0, waits=None) == Load(others=0.0)
    assert meter.sample(now=3.0, busy=12.0, workers=1.0, waits=None) is None


def test_scheduler_waits_add_up_all_threads(tmp_path: Path) -> None:
    for thread, text in (("7", "100 20 3\n"), ("8", "50 5 1\n"), ("9", "nonsense\n")):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "schedstat").write_text(text)
    assert scheduler_waits([7], tmp_path) == (150, 25)
    assert scheduler_waits([8], tmp_path) is None
