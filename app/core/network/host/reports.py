"""What the host tells the asyncio side, and whom it asks."""

from typing import Literal, Protocol

import msgspec

from app.core.network.host.link import Link


class Up(msgspec.Struct, frozen=True):
    """A peer has its first connection."""

    peer_id: str
    address: str
    outbound: bool


class Down(msgspec.Struct, frozen=True):
    """A peer's last connection has ended."""

    peer_id: str
    reason: Literal["closed", "frozen"]


class Incoming(msgspec.Struct, frozen=True):
    """A peer has opened a stream of frames."""

    link: Link


class BadBytes(msgspec.Struct, frozen=True):
    """A peer sent bytes that are no frame."""

    peer_id: str


class Flooded(msgspec.Struct, frozen=True):
    """A peer has opened a stream beyond what the gate takes."""

    peer_id: str


class Gossiped(msgspec.Struct, frozen=True):
    """A gossip message that the guard accepted, opened."""

    topic: str
    origin: str
    body: bytes


class GossipRefused(msgspec.Struct, frozen=True):
    """A peer passed a gossip message on that the guard refused; `reason` is a seal.Reason's value."""

    peer_id: str
    reason: str


Report = Up | Down | Incoming | BadBytes | Flooded | Gossiped | GossipRefused


class Gate(Protocol):
    """Asked in the Trio thread, so it answers at once from what it has."""

    def admits(self, peer_id: str) -> bool:
        """Whether the peer may be connected at all."""

    def takes_stream(self, peer_id: str) -> bool:
        """Whether the peer may open one more stream now."""

    def opens(self, topic: str, forwarder: str, data: bytes) -> Gossiped | GossipRefused:
        """The gossip message in `data`, which `forwarder` passed on."""
