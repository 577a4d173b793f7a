"""Running blocking work beside the loop without leaving it behind."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(work: Callable[[], T], *, name: str, cancel: Callable[[], None] | None = None) -> T:
    """Runs `work` in a thread and returns its result.

    A thread cannot be stopped, so a caller that is cancelled calls `cancel`, if given, and then still waits
    for the work to end: nothing goes on writing files that somebody else believes to be at rest.
    """
    return await see_through(asyncio.to_thread(work), name=name, cancel=cancel)


async def see_through(
    work: Coroutine[Any, Any, T], *, name: str, cancel: Callable[[], None] | None = None
) -> T:
    """As `finish`, for a coroutine that must not be left in the middle."""
    task = asyncio.create_task(work, name=name)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if cancel is not None:
            cancel()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


class ModelLocks:
    """One lock per model: whoever works on a model's files does so alone."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def of(self, model_id: str) -> asyncio.Lock:
        return self._locks.setdefault(model_id, asyncio.Lock())

    async def run(
        self, model_id: str, work: Callable[[], T], *, cancel: Callable[[], None] | None = None
    ) -> T:
        """Runs `work` in a thread, alone with the model and to its end."""
        async with self.of(model_id):
            return await finish(work, name=f"library work on {model_id}", cancel=cancel)


def reporter(report: Callable[[float], None]) -> Callable[[float], None]:
    """`report`, callable from threads; it is run on the loop, for each hundredth at most once."""
    loop = asyncio.get_running_loop()
    last = -1.0

    def tell(fraction: float) -> None:
        nonlocal last
        if fraction - last >= 0.01 or fraction >= 1.0 > last:
            last = fraction
            loop.call_soon_threadsafe(report, fraction)

    return tell
