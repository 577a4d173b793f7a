"""Requests, hang-ups, crashes and unloads in random order, through router, engine and real processes."""

import asyncio
import os
import random
import signal
import time
from contextlib import aclosing, suppress
from pathlib import Path

import psutil
import pytest

from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.kernel.errors import Conflict, Overloaded, SwarmError, WorkerCrashed
from app.core.kernel.events import EventBus
from app.core.kernel.generation import ChatRequest, Message, TextDelta
from app.core.swarm.router import Router, RouterLimits
from tests.support import engine_script as script
from tests.support.engine_library import Entry, Shelf

NAMES = "abcd"
REQUESTS = 100


class Storm:
    def __init__(self, router: Router, engine: Engine, dice: random.Random) -> None:
        self.router = router
        self.engine = engine
        self.dice = dice
        self.answered = 0

    async def request(self, model: str, count: int, manner: str) -> None:
        text = f"{count} words 1 ms{' die' if manner == 'die' else ''}"
        request = ChatRequest(model=model, messages=(Message(role="user", content=text),))
        got = ""
        try:
            async with aclosing(self.router.chat(request, priority=self.dice.randrange(3))) as chunks:
                async for chunk in chunks:
                    got += chunk.text if isinstance(chunk, TextDelta) else ""
                    if manner == "hang up" and got:
                        return
        except (WorkerCrashed, Overloaded):
            return
        assert got == "".join(f"w{index} " for index in range(count))
        self.answered += 1

    async def mischief(self, tasks: list[asyncio.Task[None]]) -> None:
        chance = self.dice.random()
        loaded = self.engine.loaded()
        if chance < 0.15:
            self.dice.choice(tasks).cancel()
        elif chance < 0.2 and loaded:
            os.kill(self.dice.choice(loaded).pid, signal.SIGKILL)
        elif chance < 0.25:
            with suppress(Conflict):
                await self.engine.unload(self.dice.choice(NAMES), force=self.dice.random() < 0.5)
        await asyncio.sleep(self.dice.random() * 0.05)

    async def rage(self) -> list[BaseException | None]:
        tasks: list[asyncio.Task[None]] = []
        for _ in range(REQUESTS):
            manner = self.dice.choice(["wait", "wait", "hang up", "die"])
            work = self.request(self.dice.choice(NAMES + "aaaa"), self.dice.choice([0, 3, 50, 300]), manner)
            tasks.append(asyncio.create_task(work))
            await self.mischief(tasks)
        async with asyncio.timeout(120):
            return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_answers_are_whole_and_nothing_is_left(tmp_path: Path, seed: int) -> None:
    before = psutil.Process().children()
    bus = EventBus(lambda error: pytest.fail(str(error)))
    engine = Engine(
        limits=EngineLimits(max_loaded=2, idle_seconds=0.5, queue_pieces=4),
        bus=bus,
        worker_command=script.command(),
        clock=time.monotonic,
    )
    shelf = Shelf([Entry(name, name) for name in NAMES], {n: script.model(tmp_path, n) for n in NAMES})
    router = Router(
        engine=engine,
        library=shelf,
        bus=bus,
        limits=RouterLimits(max_concurrent_requests=6, max_queued_requests=30),
        default_model="",
        clock=time.monotonic,
    )
    async with engine:
        storm = Storm(router, engine, random.Random(seed))
        results = await storm.rage()
        unexpected = [result for result in results if isinstance(result, Exception)]
        assert not [error for error in unexpected if not isinstance(error, SwarmError)], unexpected
        assert storm.answered > 0
        assert (router.running, router.queued) == (0, 0)
        assert all(model.requests == 0 for model in engine.loaded())
    assert psutil.Process().children() == before
    assert len(asyncio.all_tasks()) == 1
