"""The main layer: gives the command line its settings, the running node, and the ways to run one."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app import __version__
from app.cli import exits
from app.cli.host import CommandError, ConfigReport, Connection, Flags, OptionRow
from app.cli.main import run
from app.core.kernel.errors import ConfigError, SwarmError

if TYPE_CHECKING:
    from app.core.config.load import LoadedSettings

# What only the node may see: workers inherit the environment of this process.
_PASSPHRASE = "SWARMLLM_VAULT_PASSPHRASE"  # noqa: S105 - the variable's name

_QT_PACKAGES = frozenset({"PySide6", "shiboken6", "qasync"})


def run_command(argv: Sequence[str]) -> int:
    """Carries out the program's command line; returns its exit code."""
    environ = dict(os.environ)
    os.environ.pop(_PASSPHRASE, None)
    return run(argv, host=LaunchHost(environ=environ))


class LaunchHost:
    """Implements the command line's Host with the core."""

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def version(self) -> str:
        return __version__

    def has_display(self) -> bool:
        if find_spec("PySide6") is None:
            return False
        if sys.platform in ("win32", "darwin"):
            return True
        environ = self._environ
        return bool(
            environ.get("DISPLAY")
            or environ.get("WAYLAND_DISPLAY")
            or environ.get("QT_QPA_PLATFORM", "").startswith("offscreen")
        )

    def run(self, flags: Flags, *, headless: bool) -> int:
        with _told():
            loaded = self._settings(flags)
            if headless:
                from app.launch.headless import run_headless  # noqa: PLC0415 - loads the whole core

                return run_headless(loaded, self._environ)
            return _windows()(loaded, self._environ)

    def config(self, flags: Flags) -> ConfigReport:
        with _told():
            loaded = self._settings(flags)
        rows = tuple(
            OptionRow(key=row.key, value=row.value, source=row.source, description=row.description)
            for row in loaded.rows()
        )
        return ConfigReport(rows=rows, file=loaded.config_file)

    def data_dir(self, flags: Flags) -> Path:
        with _told():
            return self._settings(flags).settings.node.data_dir

    def connection(self, flags: Flags) -> Connection:
        from app.client.runtime import find_node  # noqa: PLC0415 - loads the client

        data_dir = self.data_dir(flags)
        runtime = find_node(data_dir)
        if runtime is None:
            raise CommandError(
                f"No node is running with the data directory {data_dir}. Start one with `swarmllm run`.",
                exits.NOT_RUNNING,
            )
        return Connection(url=runtime.url, token=runtime.token)

    def api_key(self, flags: Flags) -> str:
        from app.launch.api_key import known_api_key  # noqa: PLC0415 - loads cryptography

        with _told():
            loaded = self._settings(flags)
            key = asyncio.run(known_api_key(loaded, self._environ))
        if key is None:
            raise CommandError(
                f"The data directory {loaded.settings.node.data_dir} has no API key yet; a node makes one "
                "when it starts. Start one with `swarmllm run`.",
                exits.FAILURE,
            )
        return key

    def _settings(self, flags: Flags) -> "LoadedSettings":
        from app.core.config.load import load_settings  # noqa: PLC0415 - `version` needs no settings

        return load_settings(flags=flags.values, environ=self._environ, config_path=flags.config)


def _windows() -> "Callable[[LoadedSettings, Mapping[str, str]], int]":
    """Loads Qt, which needs libraries of the system that a small machine may lack."""
    try:
        from app.launch.windows import run_windows  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _QT_PACKAGES:
            raise
        raise CommandError(
            f"No window can be opened: {error}. Install what is missing, or start with --headless.",
            exits.FAILURE,
        ) from error
    return run_windows


@contextmanager
def _told() -> Iterator[None]:
    """Turns expected errors of the core into failures of the command."""
    try:
        yield
    except ConfigError as error:
        raise CommandError(error.message, exits.USAGE) from error
    except SwarmError as error:
        raise CommandError(error.message, exits.FAILURE) from error
