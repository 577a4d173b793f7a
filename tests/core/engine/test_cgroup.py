from pathlib import Path

from app.core.engine.cgroup import cpu_bound, memory_room


def tree(root: Path, **files: str) -> tuple[Path, Path]:
    """A process in /system/node, with files like `system_node__cpu_max`."""
    proc = root / "cgroup"
    proc.write_text("1:name=systemd:/old\n0::/system/node\n")
    mount = root / "fs"
    (mount / "system" / "node").mkdir(parents=True)
    for name, text in files.items():
        group, _, file = name.partition("__")
        (mount / group.replace("_", "/") / file.replace("_", ".")).write_text(text)
    return proc, mount


def test_the_tightest_group_around_us_holds(tmp_path: Path) -> None:
    proc, mount = tree(
        tmp_path,
        system_node__cpu_max="400000 100000\n",
        system__cpu_max="150000 100000",
        __cpu_max="max 100000",
    )
    assert cpu_bound(proc, mount) == 1.5


def test_room_is_what_is_left_and_what_is_only_cached(tmp_path: Path) -> None:
    proc, mount = tree(
        tmp_path,
        system_node__memory_max="1000",
        system_node__memory_current="700",
        system_node__memory_stat="anon 400\nfile 250\n",
        system__memory_max="max",
        system__memory_current="900",
    )
    assert memory_room(proc, mount) == 550


def test_without_bounds_or_without_groups_there_is_none(tmp_path: Path) -> None:
    proc, mount = tree(tmp_path, system_node__cpu_max="max 100000", system_node__memory_max="nonsense")
    assert (cpu_bound(proc, mount), memory_room(proc, mount)) == (None, None)
    nowhere = tmp_path / "nowhere"
    assert (cpu_bound(nowhere, nowhere), memory_room(nowhere, nowhere)) == (None, None)
