"""Where the program's own files are, and how it starts its workers."""

import sys
from collections.abc import Mapping
from pathlib import Path

from app.core.config.load import LoadedSettings
from app.core.node import Node


def make_node(loaded: LoadedSettings, environ: Mapping[str, str]) -> Node:
    """A node that has not been started."""
    return Node(
        settings=loaded,
        environ=environ,
        builtin_model=resource("guide.gguf"),
        worker_command=worker_command(),
    )


def worker_command() -> tuple[str, ...]:
    """Starts this program as a worker process."""
    if getattr(sys, "frozen", False):
        return (sys.executable, "worker")
    return (sys.executable, "-m", "app", "worker")


def resource(name: str) -> Path:
    """A file of the folder `resources`."""
    root = getattr(sys, "_MEIPASS", None)
    return (Path(root) if root else Path(__file__).resolve().parents[2]) / "resources" / name
