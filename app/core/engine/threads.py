"""How many threads workers compute with: as many as there are cores really free.

llama.cpp's threads meet at a barrier several times per layer. One thread too many, beside a busy core,
makes all of them wait for the one that has no core: on 2 cores with one busy, 2 threads decode at a
third of 1 thread's speed. So the count follows the machine's load, with hysteresis.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

RAISE_MARGIN: Final = 0.1
"""Cores by which the load must be below the halfway point between two counts to raise the count."""
UNMEASURED_MARGIN: Final = 0.2
"""The same for lowering it, where nothing but the load is measured."""
CONTENDED: Final = 0.1
"""Share of their runnable time that threads wait for a core, from which on there are too many."""
LOWER_AFTER: Final = 2
RAISE_AFTER: Final = 3

SPAWN_ENVIRONMENT: Final = {
    "GOMP_SPINCOUNT": "10000",
    "KMP_BLOCKTIME": "1",
    "OMP_DYNAMIC": "FALSE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GGML_NO_BACKTRACE": "1",
}
"""GNU's OpenMP spins at barriers until it has counted that far, LLVM's and Intel's for 1 ms: enough to
meet on free cores, short enough not to keep a neighbour's worker from them. NumPy's own threads would
only stand in the way. ggml's aborts would start a debugger for their backtrace, which takes seconds."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One sample. `others` cores are busy with what is not our workers. `waiting` is the share of their
    runnable time that the workers' threads spent waiting for a core, None where that is not measured.
    """

    others: float
    waiting: float | None = None


class ThreadPolicy:
    """Threads for each of the workers that compute at the same time, from samples of the load."""

    def __init__(self, *, cores: int, most: int) -> None:
        self._cores = cores
        self._most = most
        self._current = most
        self._streak = 0

    def threads_for(self, load: Load, active: int) -> int:
        """Threads per worker while `active` of them compute.

        A change in the number of workers takes effect at once, one of the load only when it lasts.
        Lowering also needs a sign that threads do wait for cores, where that is measured: a pipeline's
        stages on one machine keep each other's cores busy, but never at the same time.
        """
        target = self._target(load)
        step = (target > self._current) - (target < self._current)
        if step == 0 or (self._streak and (step > 0) != (self._streak > 0)):
            self._streak = step
        else:
            self._streak += step
        if self._streak >= RAISE_AFTER or self._streak <= -LOWER_AFTER:
            self._current = target
            self._streak = 0
        return max(1, self._current // max(1, active))

    def _target(self, load: Load) -> int:
        free = max(0.0, self._cores - load.others)
        margin = UNMEASURED_MARGIN if load.waiting is None else 0.0
        contended = load.waiting is None or load.waiting > CONTENDED
        lower = contended and free < self._current - 0.5 - margin
        if lower or free > self._current + 0.5 + RAISE_MARGIN:
            return max(1, min(self._most, round(free)))
        return self._current


class LoadMeter:
    """Turns counters that only grow into `Load`s."""

    def __init__(self) -> None:
        self._before: tuple[float, float, float] | None = None
        self._waits: tuple[int, int] | None = None

    def sample(
        self, *, now: float, busy: float, workers: float, waits: tuple[int, int] | None
    ) -> Load | None:
        """The load since the last call; None on the first or where nothing can be told.

        `now` in seconds; `busy` and `workers` are CPU seconds spent by the whole machine and by our
        workers; `waits` is (running, waiting) of the workers' threads in nanoseconds.
        """
        before, self._before = self._before, (now, busy, workers)
        waits_before, self._waits = self._waits, waits
        if before is None or now - before[0] <= 0:
            return None
        others = max(0.0, (busy - before[1]) - max(0.0, workers - before[2])) / (now - before[0])
        if waits is None or waits_before is None:
            return Load(others=others)
        running, waiting = waits[0] - waits_before[0], waits[1] - waits_before[1]
        if running < 0 or waiting < 0 or running + waiting == 0:
            return Load(others=others)
        return Load(others=others, waiting=waiting / (running + waiting))


def scheduler_waits(pids: Iterable[int], root: Path = Path("/proc")) -> tuple[int, int] | None:
    """Nanoseconds that all threads of `pids` ran and waited for a core; None where the system (anything
    but Linux) does not tell. Threads that ended are missing, so sums may shrink.
    """
    running = waiting = 0
    found = False
    for pid in pids:
        for path in (root / str(pid) / "task").glob("*/schedstat"):
            try:
                ran, waited, _ = path.read_text(encoding="ascii").split()
            except (OSError, ValueError):
                continue
            running, waiting, found = running + int(ran), waiting + int(waited), True
    return (running, waiting) if found else None
