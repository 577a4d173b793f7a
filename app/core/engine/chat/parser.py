"""Takes a model's answer apart while it is written: thoughts, text, tool calls.

A sans-IO state machine: text goes in, kernel deltas come out. However the same text is cut into parts,
the concatenated result is the same. A marker never shows, not even a part of it; a part that may become
one is held back until it is decided.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from app.core.engine.chat.families import FAMILIES, THOUGHTS, Family, Tag, Thoughts, opened_thoughts
from app.core.engine.chat.jsonscan import SPACE, CallReader, Outcome
from app.core.engine.chat.tagged import TaggedReader
from app.core.kernel.generation import ReasoningDelta, TextDelta, Tool, ToolCallDelta

Event = TextDelta | ReasoningDelta | ToolCallDelta
BARE: Final = Tag(opener="{")
FENCES: Final = ("```json\n", "```tool_call\n", "```\n")


def random_call_id() -> str:
    """A tool call's id in OpenAI's shape."""
    return f"call_{secrets.token_hex(12)}"


class AnswerParser:
    """One choice's answer. `calls` counts the tool calls made so far.

    `prompt_tail` is the end of the prompt that the answer continues: a template may have opened the
    thoughts already. Without `tools` nothing is read as a call. With `parallel` False whatever follows
    the first call is dropped.
    """

    def __init__(
        self,
        family: str,
        tools: Sequence[Tool],
        prompt_tail: str = "",
        *,
        choice: int = 0,
        parallel: bool = True,
        new_id: Callable[[], str] = random_call_id,
    ) -> None:
        self._family: Family = FAMILIES.get(family, FAMILIES["generic"])
        self._tools = tuple(tools)
        self._known = frozenset(tool.name for tool in tools)
        self._choice = choice
        self._parallel = parallel
        self._new_id = new_id
        self._tags = self._family.tags if tools else ()
        self._text_markers = Markers([tag.opener for tag in self._tags] + list(self._family.noise))
        self._openers = self._possible_openers()
        self._buffer = ""
        self._held = ""
        self._out: list[Event] = []
        self._reader: TaggedReader | CallReader | None = None
        self._mode = self._fresh
        self._thoughts: Thoughts | None = opened_thoughts(prompt_tail)
        self._thoughts_begun = False
        if self._thoughts:
            self._mode = self._thinking
        self.calls = 0

    def feed(self, text: str) -> list[Event]:
        """What `text` makes certain."""
        if self._mode == self._plain and not self._buffer and not self._text_markers.may_begin(text):
            return [TextDelta(text=text, choice=self._choice)] if text else []
        self._buffer += text
        while self._buffer and self._mode():
            pass
        return self._take()

    def finish(self) -> list[Event]:
        """What was still held back. The parser must not be used afterwards."""
        if self._mode == self._calling and self._reader is not None:
            done = self._reader.begun
            if isinstance(self._reader, TaggedReader):
                done = self._reader.finish() is Outcome.DONE
            if not done:
                self._text(self._held + self._reader.taken)
        elif self._mode == self._thinking:
            self._reason(self._buffer.rstrip(SPACE))
        elif self._buffer or not self.calls:
            self._text(self._held + self._buffer)
        self._held = self._buffer = ""
        self._mode = self._dropping
        return self._take()

    @property
    def holds_text(self) -> bool:
        """Whether something is held back that may still come out as text."""
        if self._mode == self._calling:
            return self._reader is not None and not self._reader.begun
        return self._mode not in (self._thinking, self._dropping) and bool(self._held or self._buffer)

    # Modes: each works on the buffer and tells whether it may be called again at once.

    def _fresh(self) -> bool:
        """At the answer's start, or behind thoughts or a call: white space is held until its use is known."""
        rest = self._buffer.lstrip(self._skippable())
        self._held += self._buffer[: len(self._buffer) - len(rest)]
        self._buffer = rest
        if not rest:
            return False
        for opener, begin in self._openers:
            if rest.startswith(opener):
                self._buffer = rest[len(opener) :]
                begin(opener)
                return True
        if any(opener.startswith(rest) for opener, _ in self._openers):
            return False
        self._text("" if self.calls else self._held)
        self._held = ""
        self._mode = self._plain
        return True

    def _plain(self) -> bool:
        at, opener = self._text_markers.find(self._buffer)
        if opener:
            self._text(self._buffer[:at])
            self._buffer = self._buffer[at + len(opener) :]
            if opener in self._family.noise:
                self._begin_noise(opener)
            else:
                self._begin_tag(opener)
            return True
        keep = self._text_markers.partial(self._buffer)
        self._text(self._buffer[: len(self._buffer) - keep])
        self._buffer = self._buffer[len(self._buffer) - keep :]
        return False

    def _thinking(self) -> bool:
        assert self._thoughts is not None
        if not self._thoughts_begun:
            self._buffer = self._buffer.lstrip(SPACE)
        closer = self._thoughts.closer
        at = self._buffer.find(closer)
        if at >= 0:
            self._reason(self._buffer[:at].rstrip(SPACE))
            self._buffer = self._buffer[at + len(closer) :].lstrip(SPACE)
            self._thoughts, self._thoughts_begun = None, False
            self._mode = self._after_thoughts
            return True
        held = len(self._buffer) - partial(self._buffer, closer)
        sure = self._buffer[:held].rstrip(SPACE)
        self._reason(sure)
        self._buffer = self._buffer[len(sure) :]
        return False

    def _after_thoughts(self) -> bool:
        self._buffer = self._buffer.lstrip(SPACE)
        if self._buffer:
            self._mode = self._fresh
        return bool(self._buffer)

    def _calling(self) -> bool:
        assert self._reader is not None
        outcome, self._buffer = self._reader.read(self._buffer)
        if outcome is Outcome.MORE:
            return False
        if outcome is Outcome.BROKEN:
            self._text(self._held + self._reader.taken)
            self._mode = self._plain
        else:
            self._mode = self._fresh if self._parallel else self._dropping
        self._held = ""
        return True

    def _dropping(self) -> bool:
        self._buffer = ""
        return False

    # Openers

    def _possible_openers(self) -> list[tuple[str, Callable[[str], None]]]:
        openers: list[tuple[str, Callable[[str], None]]] = [
            (thoughts.opener, self._begin_thoughts) for thoughts in THOUGHTS
        ]
        openers += [(tag.opener, self._begin_tag) for tag in self._tags]
        openers += [(noise, self._begin_noise) for noise in self._family.noise]
        if self._tools and self._family.bare_json:
            openers += [(fence, self._begin_fence) for fence in FENCES]
            openers.append((BARE.opener, self._begin_bare))
        return openers

    def _begin_thoughts(self, opener: str) -> None:
        self._thoughts = next(thoughts for thoughts in THOUGHTS if thoughts.opener == opener)
        self._held = ""
        self._mode = self._thinking

    def _begin_noise(self, _: str) -> None:
        self._held = ""
        self._mode = self._fresh

    def _begin_tag(self, opener: str) -> None:
        tag = next(tag for tag in self._tags if tag.opener == opener)
        self._held += opener
        self._reader = TaggedReader(sink=self, tag=tag, tools=self._tools)
        self._mode = self._calling

    def _begin_fence(self, opener: str) -> None:
        self._held += opener
        self._mode = self._fenced

    def _fenced(self) -> bool:
        rest = self._buffer.lstrip(SPACE)
        self._held += self._buffer[: len(self._buffer) - len(rest)]
        self._buffer = rest
        if not rest:
            return False
        if rest.startswith("{"):
            self._buffer = rest[1:]
            self._begin_bare("{")
        else:
            self._text(self._held)
            self._held = ""
            self._mode = self._plain
        return True

    def _begin_bare(self, opener: str) -> None:
        reader = CallReader(sink=self, known=self._known)
        reader.read(opener)
        self._reader = reader
        self._mode = self._calling

    def _skippable(self) -> str:
        return SPACE + ";,`" if self.calls else SPACE

    # What comes out

    def begin(self, name: str) -> None:
        """A call to `name` begins (`CallSink`)."""
        self.calls += 1
        if self._parallel or self.calls == 1:
            call = ToolCallDelta(call=self.calls - 1, choice=self._choice, id=self._new_id(), name=name)
            self._out.append(call)

    def arguments(self, text: str) -> None:
        """More of the current call's arguments (`CallSink`)."""
        if self._parallel or self.calls == 1:
            self._out.append(ToolCallDelta(call=self.calls - 1, choice=self._choice, arguments=text))

    def _text(self, text: str) -> None:
        if text:
            self._out.append(TextDelta(text=text, choice=self._choice))

    def _reason(self, text: str) -> None:
        if text:
            self._thoughts_begun = True
            self._out.append(ReasoningDelta(text=text, choice=self._choice))

    def _take(self) -> list[Event]:
        out, self._out = self._out, []
        return out


class Markers:
    """Finds the first of several markers in text that arrives in parts."""

    def __init__(self, markers: Sequence[str]) -> None:
        self._markers = tuple(markers)
        self._first = tuple({marker[0] for marker in markers})

    def may_begin(self, text: str) -> bool:
        """Whether any character of `text` could be a marker's first."""
        return any(char in text for char in self._first)

    def find(self, text: str) -> tuple[int, str]:
        """Position and marker of the earliest occurrence; ("" if there is none)."""
        found = [(at, marker) for marker in self._markers if (at := text.find(marker)) >= 0]
        return min(found, key=lambda each: each[0]) if found else (len(text), "")

    def partial(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a marker."""
        return max((partial(text, marker) for marker in self._markers), default=0)


def partial(text: str, marker: str) -> int:
    """The length of the longest end of `text` that is a beginning of `marker`, but not all of it."""
    for length in range(min(len(text), len(marker) - 1), 0, -1):
        if marker.startswith(text[-length:]):
            return length
    return 0
