"""How an option is declared, and how a value for it is read and checked.

A section is a frozen dataclass whose fields are made by `option()`: the annotation is the type, the rest
stands in the field. Everything else about options (environment names, messages, documentation) is derived
from the declaration.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

Value = bool | int | float | str | Path | tuple[str, ...] | None

ENVIRONMENT_PREFIX = "SWARMLLM_"

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_MAX_TEXT = 4096
_MAX_ITEMS = 64


class WrongValue(ValueError):
    """What a value must be, without naming where it came from; the text follows "<key> "."""


@dataclass(frozen=True, kw_only=True)
class _Limits:
    description: str
    flag: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    secret: bool
    min_length: int


def option(
    default: Any,
    description: str,
    *,
    flag: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    min_length: int = 0,
) -> Any:
    """Declares one option of a section.

    `default` is a value or a function that makes one. `flag` is the command-line flag that sets it, e.g.
    "--port". Numbers lie between `minimum` and `maximum`, both included; texts are one of `choices` where
    there are any. A `secret` is never printed; it is empty or has at least `min_length` characters.
    """
    limits = _Limits(
        description=description,
        flag=flag,
        minimum=minimum,
        maximum=maximum,
        choices=choices,
        secret=secret,
        min_length=min_length,
    )
    metadata = {"limits": limits}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One declared option. `key` is "section.name"."""

    key: str
    type: type
    optional: bool
    default: Value
    limits: _Limits

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def environment_name(self) -> str:
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()

    @property
    def flag(self) -> str | None:
        return self.limits.flag

    @property
    def description(self) -> str:
        return self.limits.description

    @property
    def secret(self) -> bool:
        return self.limits.secret

    def bounds(self) -> str:
        """What a value must be, as the end of a sentence that starts with the key and "must be"."""
        limits = self.limits
        if limits.choices:
            return "one of " + ", ".join(limits.choices)
        if self.type is bool:
            return "true or false"
        if self.type in (int, float):
            kind = "an integer" if self.type is int else "a number"
            if limits.minimum is not None and limits.maximum is not None:
                return f"between {_plain(limits.minimum)} and {_plain(limits.maximum)}"
            return kind if limits.minimum is None else f"{kind} of at least {_plain(limits.minimum)}"
        if limits.min_length:
            return f"empty or a text of at least {limits.min_length} printable characters without spaces"
        if self.type is tuple:
            return f"a list of at most {_MAX_ITEMS} texts"
        return "a path" if self.type is Path else "a text"

    def from_text(self, text: str, base: Path) -> Value:
        """The value that `text` of a flag or an environment variable stands for.

        Relative paths start at `base`; the items of a list are separated by commas. Raises WrongValue.
        """
        if self.type is tuple:
            return self._checked_list([item.strip() for item in text.split(",") if item.strip()], text)
        if self.type is bool:
            lowered = text.strip().lower()
            if lowered not in _TRUE | _FALSE:
                raise self._wrong(text)
            return lowered in _TRUE
        if self.type in (int, float):
            try:
                return self._checked_number(self.type(text.strip()), text)
            except ValueError as error:
                raise self._wrong(text) from error
        return self.from_toml(text, base)

    def from_toml(self, value: object, base: Path) -> Value:
        """The value that a parsed TOML value stands for. Raises WrongValue."""
        if self.type is bool:
            if not isinstance(value, bool):
                raise self._wrong(value)
            return value
        if self.type in (int, float):
            if isinstance(value, bool) or not isinstance(value, (int, float) if self.type is float else int):
                raise self._wrong(value)
            return self._checked_number(value, value)
        if self.type is tuple:
            return self._checked_list(value, value)
        return self._checked_text(value, base)

    def _checked_number(self, number: Any, given: object) -> Value:
        low, high = self.limits.minimum, self.limits.maximum
        # Written so that NaN, which compares false with everything, is refused.
        if (low is not None and not number >= low) or (high is not None and not number <= high):
            raise self._wrong(given)
        return self.type(number)  # type: ignore[no-any-return]

    def _checked_text(self, value: object, base: Path) -> Value:
        if not isinstance(value, str) or len(value) > _MAX_TEXT or "\0" in value:
            raise self._wrong(value)
        limits = self.limits
        if limits.choices and value not in limits.choices:
            raise self._wrong(value)
        if self.type is Path:
            return self._as_path(value, base)
        if limits.min_length and value:
            sound = value.isascii() and value.isprintable() and " " not in value
            if len(value) < limits.min_length or not sound:
                raise self._wrong(value)
        return value

    def _checked_list(self, items: object, given: object) -> tuple[str, ...]:
        if not isinstance(items, (list, tuple)) or len(items) > _MAX_ITEMS:
            raise self._wrong(given)
        for item in items:
            if not isinstance(item, str) or not 0 < len(item) <= _MAX_TEXT or "\0" in item:
                raise self._wrong(given)
        return tuple(items)

    def _as_path(self, value: str, base: Path) -> Path | None:
        if not value.strip():
            if self.optional:
                return None
            raise self._wrong(value)
        try:
            return base / Path(value).expanduser()
        except RuntimeError as error:
            raise self._wrong(value) from error

    def _wrong(self, given: object) -> WrongValue:
        if self.secret:
            return WrongValue(f"must be {self.bounds()}")
        shown = repr(given)
        return WrongValue(f"must be {self.bounds()}, not {shown if len(shown) <= 60 else shown[:57] + '...'}")


def options_of(section: str, declaration: type) -> Iterator[Option]:
    """The options that the dataclass `declaration` of `section` declares, in order."""
    hints = get_type_hints(declaration)
    for declared in fields(declaration):
        hint = hints[declared.name]
        optional = type(None) in getattr(hint, "__args__", ())
        kind = next(part for part in hint.__args__ if part is not type(None)) if optional else hint
        # A list of texts is declared as `tuple[str, ...]`.
        kind = get_origin(kind) or kind
        yield Option(
            key=f"{section}.{declared.name}",
            type=kind,
            optional=optional,
            default=_default(declared),
            limits=declared.metadata["limits"],
        )


def _default(declared: "Field[Any]") -> Value:
    made: Any = declared.default if declared.default_factory is MISSING else declared.default_factory()
    value: Value = made
    return value


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
