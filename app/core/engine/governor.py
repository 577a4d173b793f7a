"""Keeps the workers' thread counts in step with the cores that are free."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import psutil

from app.core.engine.machine import Machine
from app.core.engine.threads import Load, LoadMeter, ThreadPolicy
from app.core.engine.worker_link import WorkerLink

log = logging.getLogger(__name__)

SAMPLE_SECONDS: Final = 0.5


class Governor:
    """Samples the load while workers have requests, and sleeps while none has.

    With `fixed` the count is the user's and nothing is sampled.
    """

    def __init__(self, *, machine: Machine, most: int, fixed: bool, clock: Callable[[], float]) -> None:
        self._machine = machine
        self._most = most
        self._fixed = fixed
        self._clock = clock
        self._policy = ThreadPolicy(cores=machine.cores, most=most)
        self._meter = LoadMeter()
        self._busy = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.threads = most

    async def start(self, links: Callable[[], Sequence[WorkerLink]]) -> None:
        if not self._fixed:
            self._task = asyncio.create_task(self._run(links), name="thread governor")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Work has begun somewhere."""
        self._busy.set()

    async def _run(self, links: Callable[[], Sequence[WorkerLink]]) -> None:
        try:
            while True:
                await self._busy.wait()
                self._meter = LoadMeter()
                self._sample(links())
                await self._govern(links)
        except (OSError, psutil.Error) as error:
            log.warning("The machine's load cannot be read; threads stay at %d: %s", self.threads, error)

    async def _govern(self, links: Callable[[], Sequence[WorkerLink]]) -> None:
        """Until no worker has anything to do."""
        while self._busy.is_set():
            await asyncio.sleep(SAMPLE_SECONDS)
            alive = links()
            busy = [link for link in alive if link.open_requests]
            if not busy:
                self._busy.clear()
            # Slices are stages of pipelines, which seldom compute at the same time.
            wholes = sum(link.whole for link in busy)
            self._adjust(alive, wholes + (len(busy) > wholes))

    def _sample(self, alive: Sequence[WorkerLink]) -> Load | None:
        pids = [link.pid for link in alive]
        return self._meter.sample(
            now=self._clock(),
            busy=self._machine.busy_seconds(),
            workers=self._machine.process_seconds(pids),
            waits=self._machine.waits(pids),
        )

    def _adjust(self, alive: Sequence[WorkerLink], active: int) -> None:
        load = self._sample(alive)
        if load is None:
            return
        threads = self._policy.threads_for(load, active)
        if threads != self.threads:
            log.debug("Workers compute with %d threads: %s, %d active.", threads, load, active)
        self.threads = threads
        for link in alive:
            link.set_threads(threads)
