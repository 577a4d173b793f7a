"""Reads GBNF far enough to know what llama.cpp would have to do with it. Pure.

llama.cpp's parser recurses once per parenthesis, its search for left recursion takes exponential time on
grammars that are small, and its first stacks are as many as the ways in which the root can begin. So a
grammar is measured here, in linear time, and refused before llama.cpp sees it. The syntax is that of
llama.cpp's grammars/README.md and llama-grammar.cpp.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from app.core.kernel.errors import InvalidGrammar

MAX_TEXT: Final = 1 << 18
MAX_DEPTH: Final = 128
MAX_RULES: Final = 20_000
MAX_ELEMENTS: Final = 500_000
MAX_VISITS: Final = 200_000
MAX_BEGINNINGS: Final = 20_000
MAX_DEPTH_OF_RULES: Final = 4000
MAX_REPEAT: Final = 2000

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t]+|\#[^\r\n]*)
      | (?P<newline>\r\n|\r|\n)
      | (?P<literal>"(?:\\[^\r\n]|[^"\\])*")
      | (?P<set>\[(?:\\[^\r\n]|[^\]\\])*\])
      | (?P<token>!?<(?:\[[0-9]+\]|[^>\[][^>]*)>)
      | (?P<define>::=)
      | (?P<name>[A-Za-z0-9-]+)
      | (?P<repeat>[*+?]|\{[ \t\r\n]*[0-9]+[ \t\r\n]*(?:,[ \t\r\n]*[0-9]*[ \t\r\n]*)?\})
      | (?P<mark>[|().])""",
    re.VERBOSE,
)
_UNENCODABLE: Final = re.compile("[\0\ud800-\udfff]")
_ESCAPE: Final = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\\"\[\]-])|[^\\]", re.DOTALL
)


@dataclass(frozen=True)
class _Lexeme:
    kind: str
    text: str
    line: int


@dataclass
class _Item:
    """A terminal (`rule` None) or a reference; `optional` where it may match nothing.

    `chain` is how often a repetition's item stands in a row, its optional part as rules of their own: each
    is a further place to begin at, where the item may match nothing.
    """

    rule: str | None
    size: int = 1
    optional: bool = False
    chain: int = 1


@dataclass
class _Rule:
    alternatives: list[list[_Item]] = field(default_factory=lambda: [[]])


def check(text: str) -> None:
    """Raises InvalidGrammar for GBNF that is wrong, recursive on the left, or too large to be followed."""
    if len(text) > MAX_TEXT:
        raise InvalidGrammar(f"The grammar is larger than {MAX_TEXT >> 10} KiB.", param="grammar")
    if _UNENCODABLE.search(text):
        raise InvalidGrammar("The grammar contains a null character or half a character.", param="grammar")
    rules = _Parser(text).rules()
    if "root" not in rules:
        raise InvalidGrammar('The grammar has no rule "root".', param="grammar")
    _check_references(rules)
    _check_beginnings(rules, _empty_rules(rules))


def _wrong(line: int, what: str) -> InvalidGrammar:
    return InvalidGrammar(f"The grammar is wrong in line {line}: {what}.", param="grammar")


def _lexemes(text: str) -> Iterator[_Lexeme]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(line, f"{text[at : at + 20]!r} was not expected")
        kind = str(match.lastgroup)
        if kind in ("literal", "set"):
            _check_escapes(match.group(), line)
        if kind != "space":
            yield _Lexeme(kind, match.group(), line)
        line += match.group().count("\n")
        at = match.end()
    yield _Lexeme("end", "", line)


def _check_escapes(text: str, line: int) -> None:
    inner = text[1:-1]
    at = 0
    while at < len(inner):
        match = _ESCAPE.match(inner, at)
        if match is None:
            raise _wrong(line, f"{inner[at : at + 2]!r} is no escape that GBNF knows")
        at = match.end()


class _Parser:
    """Recursive descent over the lexemes; groups become rules of their own, as in llama.cpp."""

    def __init__(self, text: str) -> None:
        self._lexemes = list(_lexemes(text))
        self._at = 0
        self._rules: dict[str, _Rule] = {}
        self._elements = 0

    def rules(self) -> dict[str, _Rule]:
        self._skip_newlines()
        while self._now.kind != "end":
            self._rule()
            self._skip_newlines()
        return self._rules

    @property
    def _now(self) -> _Lexeme:
        return self._lexemes[self._at]

    def _skip_newlines(self) -> None:
        while self._now.kind == "newline":
            self._at += 1

    def _take(self) -> _Lexeme:
        lexeme = self._now
        self._at += 1
        return lexeme

    def _rule(self) -> None:
        name = self._take()
        if name.kind != "name" or self._now.kind != "define":
            raise _wrong(name.line, 'a rule begins with its name and "::="')
        self._at += 1
        self._skip_newlines()
        rule = self._alternatives(depth=0)
        if self._now.kind not in ("newline", "end"):
            raise _wrong(self._now.line, f"{self._now.text!r} was not expected")
        self._keep(name.text, rule)

    def _keep(self, name: str, rule: _Rule) -> None:
        self._rules[name] = rule
        if len(self._rules) > MAX_RULES:
            raise InvalidGrammar(f"The grammar has more than {MAX_RULES} rules.", param="grammar")

    def _alternatives(self, depth: int) -> _Rule:
        if depth > MAX_DEPTH:
            raise _wrong(self._now.line, f"parentheses are nested more than {MAX_DEPTH} deep")
        rule = _Rule()
        while True:
            lexeme = self._now
            if lexeme.kind == "newline" and depth:
                self._at += 1
            elif lexeme.text == "|" and lexeme.kind == "mark":
                self._at += 1
                self._skip_newlines()
                rule.alternatives.append([])
            elif lexeme.kind == "repeat":
                self._repeat(rule.alternatives[-1], self._take())
            elif not self._element(rule.alternatives[-1], depth):
                return rule

    def _element(self, items: list[_Item], depth: int) -> bool:
        lexeme = self._now
        if lexeme.kind == "name":
            items.append(_Item(self._take().text))
        elif lexeme.kind in ("set", "token") or lexeme.text == ".":
            size = max(1, len(self._take().text) - 2) if lexeme.kind == "set" else len(self._take().text[:1])
            items.append(_Item(None, size))
        elif lexeme.kind == "literal":
            self._at += 1
            size = len(lexeme.text) - 2
            items.append(_Item(None, max(1, size), optional=size == 0))
        elif lexeme.text == "(":
            self._group(items, depth)
        else:
            return False
        self._count(items[-1].size)
        return True

    def _group(self, items: list[_Item], depth: int) -> None:
        opening = self._take()
        inner = self._alternatives(depth + 1)
        if self._take().text != ")":
            raise _wrong(opening.line, "a parenthesis is not closed")
        name = f"({len(self._rules)}"
        self._keep(name, inner)
        items.append(_Item(name))

    def _repeat(self, items: list[_Item], lexeme: _Lexeme) -> None:
        if not items:
            raise _wrong(lexeme.line, f"{lexeme.text!r} has nothing to repeat")
        least, most = _bounds(lexeme.text)
        if least > MAX_REPEAT or (most is not None and most < least):
            raise _wrong(lexeme.line, f"{lexeme.text!r} is no repetition that can be followed")
        item = items[-1]
        item.optional = item.optional or least == 0
        item.size *= max(1, least)
        optional = 1 if most is None or most > MAX_REPEAT else most - least
        item.chain *= max(1, least + optional)
        self._count(item.size + 4 * optional)

    def _count(self, size: int) -> None:
        self._elements += size
        if self._elements > MAX_ELEMENTS:
            raise InvalidGrammar("The grammar's repetitions make it too large.", param="grammar")


def _bounds(text: str) -> tuple[int, int | None]:
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if text in simple:
        return simple[text]
    parts = [part.strip() for part in text[1:-1].split(",")]
    if any(len(part) > 9 for part in parts):
        return MAX_REPEAT + 1, None
    least = int(parts[0])
    if len(parts) == 1:
        return least, least
    return least, int(parts[1]) if parts[1] else None


def _check_references(rules: dict[str, _Rule]) -> None:
    for rule in rules.values():
        for items in rule.alternatives:
            for item in items:
                if item.rule is not None and item.rule not in rules:
                    raise InvalidGrammar(
                        f"The grammar uses the rule {item.rule[:60]!r}, which it does not define.",
                        param="grammar",
                    )


def _empty_rules(rules: dict[str, _Rule]) -> set[str]:
    """Rules that may match nothing: the least fixed point, reached through who refers to whom."""
    empty: set[str] = set()
    users: dict[str, set[str]] = {}
    for name, rule in rules.items():
        for items in rule.alternatives:
            for item in items:
                if item.rule is not None:
                    users.setdefault(item.rule, set()).add(name)
    pending = list(rules)
    while pending:
        name = pending.pop()
        if name not in empty and any(_vanishes(items, empty) for items in rules[name].alternatives):
            empty.add(name)
            pending.extend(users.get(name, ()))
    return empty


def _vanishes(items: list[_Item], empty: set[str]) -> bool:
    return all(item.optional or item.rule in empty for item in items)


@dataclass(frozen=True)
class _Cost:
    """What it takes llama.cpp to find out how a rule can begin."""

    visits: int
    beginnings: int
    depth: int


def _check_beginnings(rules: dict[str, _Rule], empty: set[str]) -> None:
    """Walks the rules that each rule can begin with, deepest first; adds up what llama.cpp would visit."""
    first = {name: list(_first(rule, empty)) for name, rule in rules.items()}
    costs: dict[str, _Cost] = {}
    for start in rules:
        if start in costs:
            continue
        stack = [(start, iter(first[start]))]
        active = {start}
        while stack:
            name, rest = stack[-1]
            below = next((item for item, _ in rest if item is not None and item not in costs), None)
            if below is None:
                costs[name] = _cost(first[name], costs)
                active.discard(name)
                stack.pop()
            elif below in active:
                raise InvalidGrammar(
                    "The grammar is left-recursive: a rule begins with itself.", param="grammar"
                )
            else:
                active.add(below)
                stack.append((below, iter(first[below])))


def _cost(first: list[tuple[str | None, int]], costs: dict[str, _Cost]) -> _Cost:
    below = [(costs[item], times) for item, times in first if item is not None]
    cost = _Cost(
        1 + sum(each.visits * times for each, times in below),
        len(first) - len(below) + sum(each.beginnings * times for each, times in below),
        1 + max((each.depth + times for each, times in below), default=0),
    )
    if cost.visits > MAX_VISITS or cost.beginnings > MAX_BEGINNINGS or cost.depth > MAX_DEPTH_OF_RULES:
        raise InvalidGrammar("The grammar has too many ways to begin.", param="grammar")
    return cost


def _first(rule: _Rule, empty: set[str]) -> Iterator[tuple[str | None, int]]:
    """What the rule's alternatives can begin with: rules (and how often in a row), or None for a terminal."""
    for items in rule.alternatives:
        for item in items:
            yield item.rule, item.chain if item.rule in empty else 1
            if not (item.optional or item.rule in empty):
                break
