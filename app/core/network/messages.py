"""Typed control messages: what may be asked, by which name, and who answers it.

A message is a frozen msgspec struct with a tag of its own. Parts of the node register the kinds that they
handle before the network starts; a kind is a request (one answer) or the opening of a stream. Unknown fields
of a known kind are ignored, so that a newer peer can say more; an unknown kind is answered with an error.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from app.core.kernel.errors import NetworkError, SwarmError, error_from_code
from app.core.network.exchange import ToldPeer
from app.core.network.frames import BadFrame, Frame, Tag

VERSION: Final = 1
M = TypeVar("M", bound=msgspec.Struct)

_to_json = msgspec.json.Encoder().encode


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First on a control stream, from both sides.

    `version` is the highest revision of the protocol's messages that the sender speaks; both sides then use
    the lower of the two. `encryption` says whether it takes part in pairwise sessions. `addresses` are where
    it listens, as far as they are of use to the reader.
    """

    version: int
    node_id: str
    software: str
    encryption: bool = True
    addresses: tuple[str, ...] = ()


class Peers(msgspec.Struct, frozen=True, kw_only=True, tag="peers"):
    """Peer exchange."""

    peers: tuple[ToldPeer, ...]


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """The request has arrived whole and is being worked on."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """The request failed with an error of the tree's `code`."""

    code: str
    message: str


def to_frame(message: msgspec.Struct) -> Frame:
    """A control message as a JSON frame."""
    return Frame(Tag.JSON, _to_json(message))


def failure_of(error: SwarmError) -> Frame:
    """`error` as the peer that asked will see it."""
    return to_frame(Failure(code=error.code, message=error.message[:1000]))


def error_of(failure: Failure) -> SwarmError:
    """The error a peer answered with, its text bounded and marked as the peer's."""
    return error_from_code(failure.code, f"The peer answered: {failure.message[:1000]}")


class Kinds:
    """A closed set of message kinds, decoded strictly.

    Raises ValueError when two kinds share a name, so a clash is noticed at start-up.
    """

    def __init__(self, kinds: Iterable[type[msgspec.Struct]]) -> None:
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        for kind in kinds:
            name = tag_of(kind)
            if name in self._decoders:
                raise ValueError(f"Two kinds of message are called {name!r}.")
            self._decoders[name] = msgspec.json.Decoder(kind)

    def __contains__(self, kind: type[msgspec.Struct]) -> bool:
        return tag_of(kind) in self._decoders

    def read(self, frame: Frame) -> msgspec.Struct:
        """The message in a JSON frame. Raises BadFrame, UnknownKind."""
        if frame.tag is not Tag.JSON:
            raise BadFrame("A peer sent another frame where a message belongs.")
        try:
            name = _peek(frame.header).type
            decoder = self._decoders.get(name)
            if decoder is None:
                raise UnknownKind(f"This node knows no message called {name[:60]!r}.")
            message = decoder.decode(frame.header)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise BadFrame("A peer sent a message that cannot be read.") from None
        assert isinstance(message, msgspec.Struct)
        return message


class UnknownKind(NetworkError):
    """A peer sent a message of a kind that this node does not handle; it may be newer."""

    code = "unknown_message"


def expect(frame: Frame, kind: type[M]) -> M:
    """The message of `kind` in an answer. Raises the error the peer answered with, or BadFrame."""
    message = Kinds((kind, Failure)).read(frame)
    if isinstance(message, Failure):
        raise error_of(message)
    assert isinstance(message, kind)
    return message


def tag_of(kind: type[msgspec.Struct]) -> str:
    """The name of a kind of message. Raises ValueError for a struct without one."""
    tag = kind.__struct_config__.tag
    if not isinstance(tag, str) or kind.__struct_config__.tag_field != "type":
        raise ValueError(f"{kind.__name__} needs a tag to be sent as a message.")
    return tag


class _Type(msgspec.Struct, frozen=True):
    type: str


_peek = msgspec.json.Decoder(_Type).decode
