"""Runs a program with a small or read-only disk of its own, in a mount namespace that ends with it."""

import subprocess
import sys
from pathlib import Path


def run_on_disk(folder: Path, options: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Runs the Python text `program` with a tmpfs of mount `options` on `folder`. Needs root and Linux."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && exec "$3" -c "$4" "$2"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", options, str(folder), sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
