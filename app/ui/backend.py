"""What the windows need of the node, in their own words.

Widgets and sessions know only this Protocol; `app.ui.node_backend` carries it out through `app.client`.
Errors arrive as `BackendError` with a sentence that can be shown as it is.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the node. `token` opens its API until the node ends; `api_key` is for other programs."""

    url: str
    token: str
    api_key: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """A model that can answer. `detail` is a short description, e.g. "Q8_0, 7 MB"."""

    id: str
    name: str
    detail: str = ""
    demonstration: bool = False


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What the node says of itself; `warnings` are sentences for the user."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message of the conversation as the model gets it."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class TextPart:
    text: str


@dataclass(frozen=True, kw_only=True)
class ReasoningPart:
    text: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """The end of an answer. `seconds` is the time spent on `tokens`, 0 when the node did not say.

    `served_by` is empty when this computer answered, else the name of who did. `finish` is
    "stop", "length", "tool_calls" or "cancelled".
    """

    tokens: int = 0
    seconds: float = 0.0
    served_by: str = ""
    finish: str = "stop"


AnswerPart = TextPart | ReasoningPart | Done


class BackendError(Exception):
    """An expected failure; `str()` is a full sentence for the user."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Backend(Protocol):
    async def models(self) -> tuple[ModelChoice, ...]:
        """Raises BackendError."""
        ...

    async def state(self) -> NodeState:
        """Raises BackendError when the node does not answer."""
        ...

    def answer(self, *, model: str, said: Sequence[Said], session: str) -> AsyncGenerator[AnswerPart, None]:
        """Streams the answer, its end is a Done; raises BackendError. Closing the generator ends the work on
        it. `session` names the chat.
        """
        ...
