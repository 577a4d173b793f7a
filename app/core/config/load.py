"""Reads the settings: command line over environment over config.toml over defaults.

The first wrong value ends the reading with a ConfigError of one line that names source, key and bound.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.config.options import ENVIRONMENT_PREFIX, Option, Value, WrongValue
from app.core.config.settings import Settings, all_options, section_types
from app.core.kernel.errors import ConfigError

DEFAULT = "default"
CONFIG_FILE_NAME = "config.toml"
MAX_CONFIG_BYTES = 1 << 20

# Read by `identity`; they are secrets or lead to one, so they are no options.
OTHER_ENVIRONMENT = frozenset({"SWARMLLM_VAULT_PASSPHRASE", "SWARMLLM_VAULT_PASSPHRASE_FILE"})


@dataclass(frozen=True, kw_only=True)
class EffectiveOption:
    """A row of `swarmllm config`: `value` as text ("set" or "not set" for a secret), and its source."""

    key: str
    value: str
    source: str
    description: str


@dataclass(frozen=True, kw_only=True)
class LoadedSettings:
    """The settings, where each value came from, and the file that was read, if there is one.

    A source is "default", "config.toml", "environment <NAME>" or "command line <flag>".
    """

    settings: Settings
    sources: Mapping[str, str]
    config_file: Path | None

    def rows(self) -> tuple[EffectiveOption, ...]:
        """Every option with its effective value and source, in order of declaration."""
        return tuple(
            EffectiveOption(
                key=key,
                value=_shown(option, self.value(key)),
                source=self.sources[key],
                description=option.description,
            )
            for key, option in all_options().items()
        )

    def value(self, key: str) -> Value:
        """The effective value of the option `key`."""
        section, _, name = key.partition(".")
        value: Value = getattr(getattr(self.settings, section), name)
        return value


def load_settings(
    *, flags: Mapping[str, str], environ: Mapping[str, str], config_path: Path | None
) -> LoadedSettings:
    """Reads all sources. `flags` maps option keys to the texts given on the command line.

    Without `config_path`, config.toml in the data directory is read if it exists; a `config_path` must
    exist. Raises ConfigError.
    """
    options = all_options()
    values: dict[str, Value] = {key: option.default for key, option in options.items()}
    sources = dict.fromkeys(options, DEFAULT)
    over_file = _from_environment(options, environ) | _from_flags(options, flags)
    data_dir = over_file.get("node.data_dir", (values["node.data_dir"], DEFAULT))[0]
    file = _config_file(config_path, data_dir)
    from_file = {} if file is None else _from_file(options, file)
    for key, (value, source) in (from_file | over_file).items():
        values[key], sources[key] = value, source
    return LoadedSettings(settings=_build(values), sources=sources, config_file=file)


def _from_flags(options: Mapping[str, Option], flags: Mapping[str, str]) -> dict[str, tuple[Value, str]]:
    found = {}
    for key, text in flags.items():
        option = options[key]
        source = f"command line {option.flag}"
        found[key] = (_text_value(option, text, source), source)
    return found


def _from_environment(
    options: Mapping[str, Option], environ: Mapping[str, str]
) -> dict[str, tuple[Value, str]]:
    by_name = {option.environment_name: option for option in options.values()}
    found = {}
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_ENVIRONMENT:
            continue
        option = by_name.get(name)
        if option is None:
            hint = _did_you_mean(name, [*by_name, *OTHER_ENVIRONMENT])
            raise ConfigError(f"environment {name}: there is no such option{hint}")
        # Compose files and unit files cannot leave a variable out, only empty.
        if environ[name]:
            source = f"environment {name}"
            found[option.key] = (_text_value(option, environ[name], source), source)
    return found


def _text_value(option: Option, text: str, source: str) -> Value:
    try:
        return option.from_text(text, Path.cwd())
    except WrongValue as error:
        raise ConfigError(f"{source}: {option.key} {error}", param=option.key) from None


def _config_file(config_path: Path | None, data_dir: Value) -> Path | None:
    if config_path is not None:
        return config_path.expanduser()
    candidate = Path(str(data_dir)) / CONFIG_FILE_NAME
    try:
        return candidate if candidate.exists() else None
    except OSError as error:
        raise ConfigError(f"{candidate}: cannot be read: {error.strerror}.") from error


def _from_file(options: Mapping[str, Option], file: Path) -> dict[str, tuple[Value, str]]:
    found = {}
    for key, value in _flat(_parse(file), file, options):
        option = options.get(key)
        if option is None:
            raise ConfigError(f"{file}: there is no option {key}{_did_you_mean(key, options)}", param=key)
        try:
            found[key] = (option.from_toml(value, file.absolute().parent), CONFIG_FILE_NAME)
        except WrongValue as error:
            raise ConfigError(f"{file}: {key} {error}", param=key) from None
    return found


def _parse(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{file}: must be at most {MAX_CONFIG_BYTES} bytes long.")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text.") from error


def _flat(
    document: Mapping[str, Any], file: Path, options: Mapping[str, Option]
) -> Iterable[tuple[str, object]]:
    sections = section_types()
    for name, section in document.items():
        if name not in sections:
            hint = _did_you_mean(name, [*sections, *options])
            raise ConfigError(f"{file}: there is no section {name}{hint}", param=name)
        if not isinstance(section, dict):
            raise ConfigError(f"{file}: {name} must be a section, written [{name}].", param=name)
        for key, value in section.items():
            yield f"{name}.{key}", value


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    close = get_close_matches(name[:200], list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "."


def _build(values: Mapping[str, Value]) -> Settings:
    sections: dict[str, Any] = {}
    for name, declaration in section_types().items():
        own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(name + ".")}
        sections[name] = declaration(**own)
    return Settings(**sections)


def _shown(option: Option, value: Value) -> str:
    if option.secret:
        return "set" if value else "not set"
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
