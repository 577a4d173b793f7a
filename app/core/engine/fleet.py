"""Which workers run: started on demand, shared, evicted when memory is short, ended when idle."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from app.core.engine.entries import Entry, Key, key_of
from app.core.engine.governor import Governor
from app.core.engine.limits import (
    EngineLimits,
    Plan,
    plan_load,
    seconds_between_pings,
    stall_allowance,
    thread_bound,
    usable_memory,
)
from app.core.engine.machine import Machine
from app.core.engine.messages import Load, Loaded
from app.core.engine.worker_link import WorkerLink
from app.core.kernel.errors import Conflict, LoadFailed, OutOfMemory, WorkerCrashed
from app.core.kernel.events import EventBus, ModelLoaded, ModelLoading, ModelUnloaded, Notice
from app.core.kernel.units import MIB
from app.core.kernel.window import Window

log = logging.getLogger(__name__)

SCARCE: Final = 256 * MIB
"""Less available memory than this ends idle workers, so that the machine need not swap for them."""
SCARCE_IDLE_SECONDS: Final = 10.0


class Fleet:
    """All workers of the node. An async context manager; leaving it ends them all within 2 s."""

    def __init__(
        self,
        *,
        limits: EngineLimits,
        bus: EventBus,
        worker_command: Sequence[str],
        clock: Callable[[], float],
        machine: Machine,
    ) -> None:
        self._limits = limits
        self._bus = bus
        self._command = tuple(worker_command)
        self._clock = clock
        self._machine = machine
        self._governor = Governor(
            machine=machine,
            most=thread_bound(limits, cores=machine.cores),
            fixed=limits.threads > 0,
            clock=clock,
        )
        self._entries: dict[Key, Entry] = {}
        self._changed = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._upkeep = asyncio.create_task(self._look_after(), name="worker upkeep")
        await self._governor.start(self._links)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        await self._governor.stop()
        if self._upkeep is not None:
            self._upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await self._upkeep
        for entry in tuple(self._entries.values()):
            self._end(entry, "stopped")
        await self._all_ended()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Workers that run or are being started, the least recently used first."""
        return tuple(sorted(self._entries.values(), key=lambda entry: entry.last_used))

    def find(self, model: str, window: Window) -> Entry | None:
        """The window's worker, if there is one."""
        return self._entries.get(key_of(model, window))

    @asynccontextmanager
    async def lease(self, model: str, window: Window) -> AsyncIterator[WorkerLink]:
        """A loaded worker for the window, kept from eviction meanwhile; started if need be, once for all
        who wait. Raises LoadFailed, OutOfMemory, BadModelFile, WorkerCrashed.
        """
        entry = await self._acquire(model, window)
        self._governor.wake()
        try:
            yield entry.link
        finally:
            entry.leases -= 1
            entry.last_used = self._clock()
            self._announce()

    async def unload(self, model: str, *, force: bool) -> int:
        """Ends the workers of `model` and tells how many there were. Raises Conflict if one of them is in
        use, unless `force`.
        """
        mine = [entry for entry in self._entries.values() if entry.key.model == model]
        if not force and not all(entry.idle for entry in mine):
            raise Conflict(f"Model {model!r} is answering a request now.")
        for entry in mine:
            self._end(entry, "asked")
        await self._all_ended()
        return len(mine)

    # Starting

    async def _acquire(self, model: str, window: Window) -> Entry:
        key = key_of(model, window)
        while True:
            entry = self._entries.get(key)
            if entry is not None and (entry.wanted or entry.dying):
                await self._changed.wait()
                continue
            if entry is None:
                entry = await self._begin(key, window)
                if entry is None:
                    continue
            entry.leases += 1
            try:
                await self._until_loaded(entry)
            except BaseException:
                entry.leases -= 1
                self._announce()
                raise
            return entry

    async def _until_loaded(self, entry: Entry) -> None:
        assert entry.started is not None
        if not entry.started.done():
            await asyncio.wait([entry.started])
        if entry.started.cancelled():
            raise WorkerCrashed(f"Model {entry.key.model!r} was unloaded while it was being loaded.")
        entry.started.result()
        entry.last_used = self._clock()

    async def _begin(self, key: Key, window: Window) -> Entry | None:
        """An entry whose worker is being started, or None if things changed while room was made."""
        size = await asyncio.to_thread(_size, window)
        try:
            while not self._closed and key not in self._entries:
                plan = self._plan(size, window)
                if isinstance(plan, Plan):
                    return self._start(key, window, size, plan)
                await self._make_room(plan)
        finally:
            self._announce()
        if self._closed:
            raise WorkerCrashed("The node is stopping.")
        return None

    async def _make_room(self, shortage: OutOfMemory) -> None:
        """Ends the least recently used worker, as soon as its requests are done. Raises `shortage` where
        that would not help.
        """
        victim = self._victim()
        if victim is None:
            raise shortage
        if victim.idle:
            self._end(victim, "evicted")
            await self._all_ended()
            return
        victim.wanted += 1
        try:
            await self._changed.wait()
        finally:
            victim.wanted -= 1

    def _plan(self, size: int, window: Window) -> Plan | OutOfMemory:
        """How to load now; an OutOfMemory where somebody has to make room first. Raises OutOfMemory where
        not even that would help.
        """
        shortage = OutOfMemory(
            f"{self._limits.max_loaded} models are loaded, and none of them can be ended now."
        )
        free = self._free_memory()
        layers = window.last - window.first
        plan: Plan | None = None
        try:
            plan = plan_load(self._limits, model_bytes=size, layers=layers, free_bytes=free)
        except OutOfMemory as error:
            shortage = error
            reclaimable = sum(entry.plan.memory_bytes for entry in self._entries.values())
            plan_load(self._limits, model_bytes=size, layers=layers, free_bytes=free + reclaimable)
        crowded = 0 < self._limits.max_loaded <= len(self._entries)
        return shortage if plan is None or crowded else plan

    def _free_memory(self) -> int:
        entries = tuple(self._entries.values())
        loading = [entry for entry in entries if not entry.ready]
        pending = sum(entry.plan.memory_bytes - entry.size for entry in loading)
        mapped = sum(entry.size for entry in entries)
        return usable_memory(
            self._limits,
            available_bytes=self._machine.available_memory(mapped=mapped) - pending,
            used_by_workers=sum(entry.plan.memory_bytes for entry in entries),
        )

    def _victim(self) -> Entry | None:
        """The least recently used worker, rather one that is idle."""
        candidates = [entry for entry in self.entries if not entry.link.sequences]
        return next((entry for entry in candidates if entry.idle), candidates[0] if candidates else None)

    def _start(self, key: Key, window: Window, size: int, plan: Plan) -> Entry:
        link = WorkerLink(
            model=key.model,
            whole=window.whole,
            command=self._command,
            queue_pieces=self._limits.queue_pieces,
            clock=self._clock,
            on_progress=lambda fraction: self._bus.publish(ModelLoading(model=key.model, fraction=fraction)),
            on_ended=lambda: self._gone(entry),
        )
        entry = Entry(key=key, window=window, size=size, link=link, plan=plan, now=self._clock())
        self._entries[key] = entry
        entry.started = asyncio.create_task(self._load(entry), name=f"load {key.model}")
        entry.started.add_done_callback(_retrieve)
        self._governor.wake()
        return entry

    async def _load(self, entry: Entry) -> None:
        model, began = entry.key.model, self._clock()
        self._bus.publish(ModelLoading(model=model, fraction=0.0))
        try:
            loaded = await entry.link.load(self._load_command(entry))
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                log.warning("Loading %s failed: %s", model, error)
            self._end(entry, "crashed")
            raise
        self._tell_loaded(entry, loaded, self._clock() - began)
        self._governor.wake()
        self._announce()

    def _load_command(self, entry: Entry) -> Load:
        return Load(
            window=entry.window,
            context_tokens=entry.plan.context_tokens,
            slots=entry.plan.slots,
            batch_tokens=self._limits.batch_tokens,
            prefill_chunk=self._limits.prefill_chunk,
            threads=self._governor.threads,
            gpu_layers=self._limits.gpu_layers,
            prefix_cache_bytes=entry.plan.prefix_cache_bytes,
        )

    def _tell_loaded(self, entry: Entry, loaded: Loaded, seconds: float) -> None:
        model, memory = entry.key.model, loaded.info.memory_bytes
        entry.plan = msgspec.structs.replace(entry.plan, memory_bytes=max(memory, entry.size))
        self._bus.publish(ModelLoaded(model=model, memory_bytes=memory, seconds=seconds))
        if loaded.warning:
            self._bus.publish(Notice(level="warning", message=f"{model}: {loaded.warning}"))

    # Ending

    def _end(self, entry: Entry, reason: str) -> None:
        """Begins to end a worker; its entry goes at once, so that a new one may be started."""
        if entry.reason is not None:
            return
        entry.reason = reason
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        task = asyncio.create_task(self._shut_down(entry), name=f"end {entry.key.model}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _shut_down(self, entry: Entry) -> None:
        if entry.started is not None and not entry.started.done():
            entry.started.cancel()
            await asyncio.wait([entry.started])
        await entry.link.shut_down()
        self._bus.publish(ModelUnloaded(model=entry.key.model, reason=entry.reason or "asked"))
        self._announce()

    def _gone(self, entry: Entry) -> None:
        """A worker's process is gone; if nobody ended it, it crashed. While it loads, `_load` notices."""
        if entry.started is not None and entry.started.done():
            self._end(entry, "crashed")

    async def _all_ended(self) -> None:
        while self._ending:
            await asyncio.wait(tuple(self._ending))

    async def _look_after(self) -> None:
        pause = seconds_between_pings(self._limits)
        if self._limits.idle_seconds:
            pause = min(pause, max(0.05, self._limits.idle_seconds / 4))
        while True:
            await asyncio.sleep(pause)
            for entry in self.entries:
                self._look_after_one(entry)
            self._relieve()

    def _look_after_one(self, entry: Entry) -> None:
        unused = self._clock() - entry.last_used
        if entry.ready and entry.idle and 0 < self._limits.idle_seconds <= unused:
            self._end(entry, "idle")
        elif entry.leases or entry.link.sequences or not entry.ready:
            entry.link.check_pulse(stall_allowance(self._limits, model_bytes=entry.size))

    def _relieve(self) -> None:
        """Where the machine runs out of memory, ends the worker that was idle the longest, one at a time."""
        if self._ending or self._machine.available_memory(mapped=0) >= SCARCE:
            return
        victim = next((entry for entry in self.entries if entry.ready and entry.idle), None)
        if victim is not None and self._clock() - victim.last_used >= SCARCE_IDLE_SECONDS:
            self._end(victim, "evicted")

    # Waiting

    def _links(self) -> list[WorkerLink]:
        return [entry.link for entry in self._entries.values() if entry.link.alive]

    def _announce(self) -> None:
        """Wakes everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


def _retrieve(load: asyncio.Task[None]) -> None:
    """Those who wait raise the error; it counts as handled if nobody waits any more."""
    if not load.cancelled():
        load.exception()


def _size(window: Window) -> int:
    """Bytes of the window's files. Raises LoadFailed."""
    try:
        return sum(Path(file).stat().st_size for file in window.files)
    except OSError as error:
        raise LoadFailed(f"A file of the model cannot be read: {error}.") from error
