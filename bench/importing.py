"""Speed of the model store: importing as a ratio to `b3sum` and `cp`, and how long a window takes to load.

    python -m bench.importing                 1 GB
    python -m bench.importing --size 4        what the project holds itself to

Import and baseline take turns in every round; the source is in the page cache for both. `cp` copies every
byte, and its copy is flushed to the disk as imported shards are. Where the filesystem shares blocks, an
import copies nothing, which shows. Windows are loaded by a worker process of the engine, start included.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import random_gguf
from bench.random_gguf import Shape

LAYER_BYTES = 188e6
OTHER_BYTES = 280e6
GOAL = 0.8
WINDOW_SECONDS = 1.0


def shape_of(size: float) -> Shape:
    """A llama whose Q8_0 file takes about `size` GB."""
    layers = max(1, round((size * 1e9 - OTHER_BYTES) / LAYER_BYTES))
    return Shape("llama", layers, 4096, 11008, 32, 8, 32000, 2048, 10_000.0)


def timed(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def baseline(source: Path, folder: Path) -> dict[str, float]:
    """Seconds of hashing, of copying, and of flushing the copy."""
    target = folder / "copy"
    seconds = {
        "b3sum": timed("b3sum", str(source)),
        "cp": timed("cp", "--reflink=never", str(source), str(target)),
        "flush": timed("sync", str(target)),
    }
    target.unlink()
    return seconds


async def imported(source: Path, root: Path) -> float:
    """Seconds of an import into an empty library."""
    from app.core.kernel.events import EventBus
    from app.core.models.library import Library

    async with Library(root=root, bus=EventBus(_raise)) as library:
        start = time.perf_counter()
        await library.import_file(source)
        seconds = time.perf_counter() - start
    shutil.rmtree(root)
    return seconds


async def windows(source: Path, root: Path) -> dict[str, float]:
    """Seconds until a window is in memory: the whole model, its halves, and a cut inside of a shard."""
    from app.core.engine.engine import Engine
    from app.core.engine.limits import EngineLimits
    from app.core.kernel.events import EventBus
    from app.core.models.library import Library

    bus = EventBus(_raise)
    command = (sys.executable, "-m", "app", "worker")
    found = {}
    async with (
        Library(root=root, bus=bus) as library,
        Engine(limits=EngineLimits(), bus=bus, worker_command=command, clock=time.monotonic) as engine,
    ):
        entry = await library.import_file(source)
        middle = min(entry.cuts, key=lambda cut: abs(cut - entry.n_layers // 2))
        for first, last in (
            (0, entry.n_layers),
            (0, middle),
            (middle, entry.n_layers),
            (middle + 1, entry.n_layers),
        ):
            start = time.perf_counter()
            await engine.load(entry.id, await library.window(entry.id, first, last))
            found[f"layers {first} to {last - 1}"] = time.perf_counter() - start
            await engine.unload(entry.id)
    shutil.rmtree(root)
    return found


def _raise(error: Exception) -> None:
    raise error


def run(size: float, rounds: int, folder: Path) -> dict[str, object]:
    source = folder / "source.gguf"
    random_gguf.write(source, shape_of(size), "q8_0")
    taken = source.stat().st_size
    subprocess.run(["sync"], check=True)
    timed("b3sum", str(source))
    ratios, steps = [], []
    for _ in range(rounds):
        bare = baseline(source, folder)
        ours = asyncio.run(imported(source, folder / "models"))
        steps.append({**bare, "import": ours})
        ratios.append(sum(bare.values()) / ours)
    source.unlink()
    tiny = folder / "tinyllama.gguf"
    random_gguf.write(tiny, random_gguf.SHAPES["tinyllama-1.1b"], "q4_k")
    return {
        "bytes": taken,
        "seconds": steps,
        "import": {"value": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "goal": GOAL},
        "window_seconds": asyncio.run(windows(tiny, folder / "models")) | {"limit": WINDOW_SECONDS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=1.0, metavar="GB", help="0.5 to 4 (1)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; on the disk that is to be measured")
    options = parser.parse_args()
    if not 0.5 <= options.size <= 4:
        parser.error("--size must be between 0.5 and 4")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(run(options.size, options.rounds, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
