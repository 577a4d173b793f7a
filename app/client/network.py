"""The nodes that the node meets."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A connected node. `since` is in unix seconds; `conduct` goes from 1 down to 0, where it is banned.

    `encrypted` tells whether what is said is encrypted beyond the connection's own encryption.
    """

    peer_id: str
    node_id: str = ""
    address: str = ""
    outbound: bool = False
    software: str = ""
    encrypted: bool = False
    round_trip_seconds: float | None = None
    since: float = 0.0
    conduct: float = 1.0


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """The node as others know it, and whom it is connected with."""

    peer_id: str
    node_id: str = ""
    addresses: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """A code with which another node finds this one, also as a QR code: an SVG document."""

    code: str
    qr_svg: str = ""


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The node that an invite led to; `peer` is None where the connection has ended again."""

    peer_id: str
    peer: Peer | None = None


class Network:
    """`call` sends a request and returns the answer as the given type; failures are ClientErrors.

    Every call fails with the code "conflict" and a sentence where the node's network is off.
    """

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call

    async def peers(self) -> Peers:
        found: Peers = await self._call("GET", "/api/admin/peers", Peers)
        return found

    async def invite(self) -> Invite:
        made: Invite = await self._call("GET", "/api/admin/network-code", Invite)
        return made

    async def join(self, code: str) -> Joined:
        """Connects to the node of an invite code or an address; returns when it has said hello."""
        joined: Joined = await self._call("POST", "/api/admin/join-network", Joined, {"code": code})
        return joined
