"""Proves that shards hold what their manifest says: when asked, and after they changed unseen."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Event

from app.core.kernel.events import EventBus, ModelsChanged
from app.core.models.manifest import ShardRecord
from app.core.models.store import Stored, check_shard
from app.core.models.storing import Cancelled, Progress
from app.core.models.threads import ModelLocks, reporter

log = logging.getLogger(__name__)


class Checker:
    """Hashes shards, one at a time under their model's lock. `stop` ends what runs in the background."""

    def __init__(self, *, locks: ModelLocks, bus: EventBus) -> None:
        self._locks = locks
        self._bus = bus
        self._task: asyncio.Task[None] | None = None
        self._stopped = Event()

    async def verify(self, model: Stored, progress: Callable[[float], None]) -> None:
        """Hashes every shard that is here and sets aside those that are not what they should be."""
        shards = [model.manifest.shards[index] for index in sorted(model.present)]
        cancel = Event()
        counter = Progress(sum(shard.data_bytes for shard in shards), reporter(progress), cancel)
        try:
            for shard in shards:
                work = partial(check_shard, model, shard, counter)
                await self._locks.run(model.id, work, cancel=cancel.set)
        finally:
            self._bus.publish(ModelsChanged())

    def recheck(self, models: Iterable[Stored]) -> None:
        """Proves in the background what changed since it was last proven."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._recheck(tuple(models)), name="library recheck")

    async def stop(self) -> None:
        self._stopped.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._stopped.clear()

    async def _recheck(self, models: Sequence[Stored]) -> None:
        for model in models:
            shards = [model.manifest.shards[index] for index in sorted(model.suspect)]
            if shards and not await self._prove(model, shards):
                return

    async def _prove(self, model: Stored, shards: Sequence[ShardRecord]) -> bool:
        """Whether the work went on to its end."""
        counter = Progress(0, lambda _: None, self._stopped)
        for shard in shards:
            try:
                await self._locks.run(model.id, partial(check_shard, model, shard, counter))
            except Cancelled:
                return False
            except Exception:
                log.exception("checking shard %s of %s failed", shard.index, model.id)
        self._bus.publish(ModelsChanged())
        return True
