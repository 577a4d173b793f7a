"""A chat as it is kept: plain data, written as one JSON file per chat."""

from typing import Literal

import msgspec

from app.ui.backend import Said

VERSION = 1
_TITLE_LENGTH = 60

Role = Literal["user", "assistant"]


class Turn(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message. The fields from `reasoning` on belong to answers.

    `seconds` is the time that generating `tokens` took; `error` is the sentence that ended the answer
    early; `stopped` is set when the user ended it.
    """

    role: Role
    text: str = ""
    created: float = 0.0
    reasoning: str = ""
    reasoning_seconds: float = 0.0
    model: str = ""
    tokens: int = 0
    seconds: float = 0.0
    served_by: str = ""
    finish: str = ""
    error: str = ""
    stopped: bool = False


class Chat(msgspec.Struct, kw_only=True):
    """A conversation. `title` is empty until the first message; times are Unix seconds."""

    id: str
    created: float
    updated: float
    title: str = ""
    model: str = ""
    turns: list[Turn] = msgspec.field(default_factory=list)
    version: int = VERSION


def title_from(text: str) -> str:
    """The first line of `text`, cut at a word when it is long."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(line) <= _TITLE_LENGTH:
        return line
    cut = line[:_TITLE_LENGTH].rsplit(" ", 1)[0]
    return f"{cut}…"


def clean(text: str) -> str:
    """`text` with lone surrogates replaced: JSON can carry them, UTF-8 files cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def said(turns: list[Turn]) -> list[Said]:
    """What the model gets to read. Questions that never got an answer are left out, but for the last."""
    result: list[Said] = []
    for turn in turns:
        if turn.text:
            result.append(Said(role=turn.role, content=turn.text))
        elif result and result[-1].role == "user":
            result.pop()
    return result


def speed(turn: Turn) -> float:
    """Tokens a second of an answer, 0 when it is not known."""
    return turn.tokens / turn.seconds if turn.tokens and turn.seconds > 0 else 0.0


def matches(chat: Chat, query: str) -> bool:
    """Whether every word of `query` occurs in the chat's title or messages."""
    words = query.casefold().split()
    if not words:
        return True
    text = "\n".join((chat.title, *(turn.text for turn in chat.turns))).casefold()
    return all(word in text for word in words)
