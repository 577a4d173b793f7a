"""Writes requirements/NAME.txt, the exact closure of requirements/NAME.in, with pip's own resolver.

python tools/lock.py run dev
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "requirements"


def closure(sources: list[Path]) -> dict[str, str]:
    """Normalized name to version of everything that `sources` bring in, on this platform."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        arguments = [item for source in sources for item in ("-r", str(source))]
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), *arguments], check=True)
        installed = json.loads(report.read_text())["install"]
    return {_normal(item["metadata"]["name"]): item["metadata"]["version"] for item in installed}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    run = closure([FOLDER / "run.in"])
    both = closure([FOLDER / "run.in", FOLDER / "dev.in"])
    dev = {name: version for name, version in both.items() if name not in run}
    changed = {name for name in run if both[name] != run[name]}
    if changed:
        sys.exit(f"dev.in changes what run.in resolves to: {', '.join(sorted(changed))}")
    for title, pins in (("run", run), ("dev", dev)):
        lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
        (FOLDER / f"{title}.txt").write_text(
            "\n".join([f"# Made by `make lock` from {title}.in.", *lines]) + "\n"
        )
        print(f"{title}.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
