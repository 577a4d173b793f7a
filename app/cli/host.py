"""What the command line needs of the program around it.

Commands never import the core: they talk to a running node through `app.client`, and ask the `Host` for
the rest. `app.launch` implements it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Options given on the command line: option key to text, and the config file."""

    values: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the running node. `token` is a secret."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class OptionRow:
    """An effective option and where its value came from."""

    key: str
    value: str
    source: str
    description: str


@dataclass(frozen=True, kw_only=True)
class ConfigReport:
    """Every option, and the config file that was read, if there is one."""

    rows: tuple[OptionRow, ...]
    file: Path | None


class CommandError(Exception):
    """An expected failure: a sentence for the user, and the exit code of the program."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class Host(Protocol):
    """Every method but `version` and `has_display` raises CommandError."""

    def version(self) -> str: ...

    def has_display(self) -> bool:
        """Whether windows can be opened."""
        ...

    def run(self, flags: Flags, *, headless: bool) -> int:
        """Runs a node until it is stopped, with or without windows; returns the exit code."""
        ...

    def config(self, flags: Flags) -> ConfigReport: ...

    def data_dir(self, flags: Flags) -> Path: ...

    def connection(self, flags: Flags) -> Connection:
        """The node that runs in the data directory."""
        ...

    def api_key(self, flags: Flags) -> str:
        """The node's API key, whether or not it is running."""
        ...
