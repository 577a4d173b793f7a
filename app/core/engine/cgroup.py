"""Bounds that a container or a service manager puts on this process (Linux control groups, version 2).

The machine's own counters do not show them: a container with two cores' time on a machine of sixty-four
would start sixty-four threads. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc/self/cgroup")
MOUNT: Final = Path("/sys/fs/cgroup")


def cpu_bound(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """Cores' worth of time that this process may use, None without a bound."""
    bounds = []
    for group in _groups(proc, mount):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            bounds.append(int(quota) / int(period))
    return min(bounds, default=None)


def memory_room(proc: Path = PROC, mount: Path = MOUNT) -> int | None:
    """Bytes that this process's groups may still take, None without a bound. Cached files count as room."""
    rooms = []
    for group in _groups(proc, mount):
        most, used = _read(group / "memory.max"), _read(group / "memory.current")
        if most.isdigit() and used.isdigit():
            rooms.append(max(0, int(most) - int(used) + _cached(group)))
    return min(rooms, default=None)


def _cached(group: Path) -> int:
    for line in _read(group / "memory.stat").splitlines():
        name, _, size = line.partition(" ")
        if name == "file" and size.isdigit():
            return int(size)
    return 0


def _groups(proc: Path, mount: Path) -> Iterator[Path]:
    """The process's group and those around it; a bound of any of them holds."""
    for line in _read(proc).splitlines():
        if line.startswith("0::/"):
            group = mount / line[4:]
            while group != mount:
                yield group
                group = group.parent
    yield mount


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
