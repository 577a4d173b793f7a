"""Who answers what: the requests a node takes, the streams it accepts, the gossip it follows.

Parts register before the network starts; afterwards the set is closed, so what is missing is noticed then.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from app.core.network.frame_stream import FrameStream
from app.core.network.frames import Frame
from app.core.network.messages import Hello, Kinds

M = TypeVar("M", bound=msgspec.Struct)
Answer = msgspec.Struct | Frame
Answerer = Callable[[str, Any], Awaitable[Answer]]
Acceptor = Callable[[str, Any, FrameStream], Awaitable[None]]


class Services:
    """Handlers by kind of message. Handlers get the peer id that the transport authenticated."""

    def __init__(self) -> None:
        self._answerers: dict[type[msgspec.Struct], Answerer] = {}
        self._acceptors: dict[type[msgspec.Struct], Acceptor] = {}

    def answer(self, kind: type[M], handler: Callable[[str, M], Awaitable[Answer]]) -> None:
        """`handler(peer_id, request)` returns the one answer: a message, or a frame of bytes.

        A SwarmError it raises is what the peer sees; anything else is logged and the peer sees a failure.
        """
        self._claim(kind)
        self._answerers[kind] = handler

    def accept(self, kind: type[M], handler: Callable[[str, M, FrameStream], Awaitable[None]]) -> None:
        """`handler(peer_id, opening, stream)` owns the stream until it returns."""
        self._claim(kind)
        self._acceptors[kind] = handler

    def answerer(self, message: msgspec.Struct) -> Answerer | None:
        return self._answerers.get(type(message))

    def acceptor(self, message: msgspec.Struct) -> Acceptor | None:
        return self._acceptors.get(type(message))

    def kinds(self, extra: Sequence[type[msgspec.Struct]] = (Hello,)) -> Kinds:
        """Everything that may come first on a stream. Raises ValueError when two share a name."""
        return Kinds([*extra, *self._answerers, *self._acceptors])

    def _claim(self, kind: type[msgspec.Struct]) -> None:
        if kind in self._answerers or kind in self._acceptors:
            raise ValueError(f"{kind.__name__} already has a handler.")
