"""Real answers of the built-in model teach the plan how fast it is."""

import sys
from pathlib import Path
from time import monotonic

import pytest

from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits
from app.core.kernel.events import EventBus
from app.core.kernel.generation import ChatRequest, Message, Sampling, Usage
from app.core.models.library import Library
from app.core.scheduling.result import Plan
from app.core.swarm.preview import Previews, Room
from app.core.swarm.router import Router, RouterLimits
from tests.support.api_server import raise_it


@pytest.mark.slow
async def test_the_predicted_speed_is_that_of_the_last_answers(guide_model: Path, tmp_path: Path) -> None:
    bus = EventBus(raise_it)
    async with (
        Library(root=tmp_path / "models", bus=bus, shard_size_mb=64) as library,
        Engine(
            limits=EngineLimits(threads=1, context_tokens=512, slots=1),
            bus=bus,
            worker_command=(sys.executable, "-m", "app", "worker"),
            clock=monotonic,
        ) as engine,
    ):
        entry = await library.import_file(guide_model, name="guide")
        router = Router(
            engine=engine, library=library, bus=bus, limits=RouterLimits(), default_model="", clock=monotonic
        )
        room = Room(memory=1 << 30, context=512, slots=1)
        previews = Previews(view=router.view, library=library, loaded=engine.loaded, room=lambda: room)
        before = previews.of("guide").placement
        assert isinstance(before, Plan)
        assert not before.measured
        assert not before.stages[0].loaded
        request = ChatRequest(
            model="guide",
            messages=(Message(role="user", content="Hello!"),),
            sampling=Sampling(temperature=0, max_tokens=40, ignore_eos=True),
        )
        usage = [chunk async for chunk in router.chat(request)][-1]
        assert isinstance(usage, Usage)
        after = previews.of(entry.id).placement
        assert isinstance(after, Plan)
        assert after.measured
        assert after.stages[0].loaded
        assert after.seconds_per_token == pytest.approx(usage.decode_seconds / (usage.completion_tokens - 1))
