"""What the machine has and how busy it is, as the operating system tells it."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

import psutil

from app.core.engine.cgroup import cpu_bound, memory_room
from app.core.engine.threads import scheduler_waits


class Machine:
    """Reads counters; decides nothing."""

    @property
    def cores(self) -> int:
        """Cores that this process may use, hyper-threads not counted where that is known."""
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        physical = psutil.cpu_count(logical=False) or allowed
        return max(1, min(allowed, physical, int(cpu_bound() or allowed)))

    def available_memory(self, *, mapped: int) -> int:
        """Bytes that can be had without swapping and without dropping `mapped` bytes of files that our
        workers have mapped: Linux counts those as available.
        """
        available = int(psutil.virtual_memory().available)
        if sys.platform != "linux":
            return available
        room = memory_room()
        return (available if room is None else min(available, room)) - mapped

    def busy_seconds(self) -> float:
        """CPU seconds that the machine has spent working since it started."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return float(sum(times) - idle - guests)

    def process_seconds(self, pids: Iterable[int]) -> float:
        """CPU seconds that these processes have spent; those that are gone count nothing."""
        total = 0.0
        for pid in pids:
            with suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total

    def waits(self, pids: Iterable[int]) -> tuple[int, int] | None:
        """See `scheduler_waits`."""
        return scheduler_waits(pids)
