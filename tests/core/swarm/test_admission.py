import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.kernel.errors import Overloaded
from app.core.swarm.admission import Admission


class Crowd:
    """Requests by name: `inside` in the order in which they got their places."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, priority: int = 0) -> None:
        self.doors[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, priority))
        await settle()

    async def go(self, name: str) -> None:
        self.doors[name].set()
        await settle()

    async def give_up(self, name: str) -> None:
        self.tasks[name].cancel()
        await settle()

    async def _visit(self, name: str, priority: int) -> None:
        async with self.admission.place(priority):
            self.inside.append(name)
            await self.doors[name].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_places_are_given_by_priority_and_then_in_order() -> None:
    crowd = Crowd(Admission(running=1, queued=10))
    for name, priority in [("first", 0), ("low", 5), ("b", 1), ("c", 1), ("urgent", 0)]:
        await crowd.come(name, priority)
    for name in ["first", "urgent", "b", "c", "low"]:
        assert crowd.inside[-1] == name
        await crowd.go(name)
    assert (crowd.admission.running, crowd.admission.queued) == (0, 0)


async def test_beyond_the_queue_requests_are_refused() -> None:
    crowd = Crowd(Admission(running=2, queued=3))
    for name in "abcde":
        await crowd.come(name)
    assert (crowd.admission.running, crowd.admission.queued) == (2, 3)
    with pytest.raises(Overloaded, match="2 requests are running and 3 are waiting"):
        async with crowd.admission.place(0):
            pass
    await crowd.go("a")
    await crowd.come("f")
    for name in "bcdef":
        await crowd.go(name)
    assert crowd.inside == list("abcdef")


async def test_whoever_gives_up_leaves_the_queue_to_the_others() -> None:
    crowd = Crowd(Admission(running=1, queued=2))
    for name in "abc":
        await crowd.come(name)
    await crowd.give_up("b")
    await crowd.come("d")
    await crowd.go("a")
    await crowd.give_up("c")
    assert crowd.inside == ["a", "c", "d"]


async def test_a_place_given_to_one_who_is_being_cancelled_goes_on() -> None:
    crowd = Crowd(Admission(running=1, queued=2))
    for name in "abc":
        await crowd.come(name)
    crowd.doors["a"].set()
    await asyncio.sleep(0)
    crowd.tasks["b"].cancel()
    await settle()
    assert crowd.inside[-1] == "c"
    assert crowd.admission.running == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "go", "give_up"]), st.integers(0, 30), st.integers(0, 3)),
        max_size=60,
    )
)
def test_no_place_is_free_while_somebody_waits(moves: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        crowd = Crowd(Admission(running=3, queued=100))
        for index, (move, who, priority) in enumerate(moves):
            names = list(crowd.tasks)
            if move == "come":
                await crowd.come(str(index), priority)
            elif names:
                await getattr(crowd, move)(names[who % len(names)])
            admission = crowd.admission
            assert admission.queued == 0 or admission.running == 3
            assert 0 <= admission.running <= 3
        for name in crowd.tasks:
            crowd.doors[name].set()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert (crowd.admission.running, crowd.admission.queued) == (0, 0)

    asyncio.run(play())
