"""Background tasks have an owner."""

import asyncio

import pytest

from app.ui.tasks import Tasks


async def test_leaving_cancels_and_awaits_what_runs() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    async with Tasks() as tasks:
        task = tasks.start(work(), name="work")
        await asyncio.sleep(0)
    assert ended == ["cleaned up"]
    assert task.cancelled()


@pytest.mark.logs_errors
async def test_a_task_that_raises_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async with Tasks() as tasks:
        tasks.start(fail(), name="the culprit")
        await asyncio.sleep(0.01)
    assert "the culprit" in caplog.text
    assert "ValueError: broken" in caplog.text
