"""What every test relies on: an error in the log that nobody expected fails the test."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _no_unexpected_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    collector = _Collector()
    logging.getLogger().addHandler(collector)
    yield
    logging.getLogger().removeHandler(collector)
    if collector.lines and not request.node.get_closest_marker("logs_errors"):
        pytest.fail("unexpected errors in the log:\n" + "\n".join(collector.lines[:10]))


@pytest.fixture(scope="session")
def guide_model() -> Path:
    """The built-in model's file."""
    return ROOT / "resources" / "guide.gguf"
