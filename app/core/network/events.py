"""What the network tells the rest of the node, on the event bus."""

from typing import Literal

import msgspec


class PeerConnected(msgspec.Struct, frozen=True, kw_only=True):
    """A peer can be talked to. `address` is where it is, as far as the transport knows."""

    peer_id: str
    node_id: str
    address: str
    direction: Literal["inbound", "outbound"]


class PeerLost(msgspec.Struct, frozen=True, kw_only=True):
    """The last connection to a peer ended. `reason` is "closed", "frozen" or "banned"."""

    peer_id: str
    node_id: str
    reason: Literal["closed", "frozen", "banned"]


class PeerMisbehaved(msgspec.Struct, frozen=True, kw_only=True):
    """A peer broke a rule; `offence` is a name of conduct.Offence, `banned_until` unix seconds or None."""

    peer_id: str
    node_id: str
    offence: str
    banned_until: float | None


class ListeningChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses at which this node listens, each naming it."""

    addresses: tuple[str, ...]
