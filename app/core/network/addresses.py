"""Multiaddrs of the kinds that nodes use, as values.

Text such as `/ip4/192.0.2.1/tcp/8810/p2p/12D3KooW...` or `/ip6/::1/udp/8800/quic-v1`, and relayed ones that
end in `/p2p-circuit/p2p/<peer>`. Anything else is refused here, before it reaches libp2p: addresses come from
strangers.
"""

import ipaddress
import re
from enum import IntEnum
from typing import Final, Literal

import msgspec

from app.core.network.keys import BadKey, public_of

MAX_TEXT: Final = 400
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9-]{1,63})*"
)

HostKind = Literal["ip4", "ip6", "dns", "dns4", "dns6"]
Transport = Literal["tcp", "quic-v1"]


class BadAddress(ValueError):
    """Text that is no address a node can dial."""


class Scope(IntEnum):
    """From how far away an address can be meant to be dialled."""

    LOOPBACK = 0
    LINK = 1
    PRIVATE = 2
    PUBLIC = 3


class Address(msgspec.Struct, frozen=True, order=True):
    """Where a node listens. With `relay` (a peer id), host and port are the relay's."""

    kind: HostKind
    host: str
    transport: Transport
    port: int
    peer_id: str | None = None
    relay: str | None = None

    def __str__(self) -> str:
        wire = f"tcp/{self.port}" if self.transport == "tcp" else f"udp/{self.port}/quic-v1"
        text = f"/{self.kind}/{self.host}/{wire}"
        if self.relay is not None:
            text += f"/p2p/{self.relay}/p2p-circuit"
        return text if self.peer_id is None else f"{text}/p2p/{self.peer_id}"

    def of(self, peer_id: str) -> "Address":
        """The same place, naming the peer that is expected there."""
        return msgspec.structs.replace(self, peer_id=peer_id)

    def bare(self) -> "Address":
        """The same place without the peer's name."""
        return msgspec.structs.replace(self, peer_id=None)

    @property
    def scope(self) -> Scope:
        if self.kind not in ("ip4", "ip6"):
            return Scope.PUBLIC
        address = ipaddress.ip_address(self.host)
        if address.is_loopback:
            return Scope.LOOPBACK
        if address.is_link_local:
            return Scope.LINK
        return Scope.PUBLIC if address.is_global else Scope.PRIVATE

    @property
    def specific(self) -> bool:
        """Whether it names one place: not 0.0.0.0, not multicast, not port 0."""
        if self.port == 0:
            return False
        if self.kind not in ("ip4", "ip6"):
            return True
        address = ipaddress.ip_address(self.host)
        return not (address.is_unspecified or address.is_multicast or address.is_reserved)

    @property
    def subnet(self) -> str:
        """The /24 or /48 that it lies in, or the host name: neighbours share it."""
        if self.kind not in ("ip4", "ip6"):
            return self.host.lower()
        bits = 24 if self.kind == "ip4" else 48
        return str(ipaddress.ip_network((self.host, bits), strict=False))


def parse_address(text: str) -> Address:
    """The address that `text` spells. Raises BadAddress."""
    if len(text) > MAX_TEXT or not text.startswith("/") or not text.isascii():
        raise BadAddress("The text is no multiaddr.")
    parts = text.removesuffix("/").split("/")[1:]
    if len(parts) < 4:
        raise BadAddress("The multiaddr is incomplete.")
    kind, host = _host(parts[0], parts[1])
    transport, port, rest = _transport(parts[2:])
    relay, peer_id = _peers(rest)
    return Address(kind, host, transport, port, peer_id, relay)


def _host(kind: str, host: str) -> tuple[HostKind, str]:
    match kind:
        case "ip4" | "ip6":
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                raise BadAddress("The multiaddr names no IP address.") from None
            if address.version != int(kind[2]) or "%" in host:
                raise BadAddress("The multiaddr names an IP address of another version.")
            return kind, str(address)
        case "dns" | "dns4" | "dns6":
            if not _HOST_NAME.fullmatch(host):
                raise BadAddress("The multiaddr names no host.")
            return kind, host
        case _:
            raise BadAddress(f"Multiaddrs that begin with /{kind[:16]} cannot be dialled.")


def _transport(parts: list[str]) -> tuple[Transport, int, list[str]]:
    protocol, number = parts[0], parts[1]
    if not (number.isdecimal() and len(number) <= 5 and int(number) < 1 << 16):
        raise BadAddress("The multiaddr names no port.")
    if protocol == "tcp":
        return "tcp", int(number), parts[2:]
    if protocol == "udp" and parts[2:3] == ["quic-v1"]:
        return "quic-v1", int(number), parts[3:]
    raise BadAddress("The multiaddr is neither TCP nor QUIC.")


def _peers(parts: list[str]) -> tuple[str | None, str | None]:
    match parts:
        case []:
            return None, None
        case ["p2p", peer]:
            return None, _peer(peer)
        case ["p2p", relay, "p2p-circuit", "p2p", peer]:
            return _peer(relay), _peer(peer)
        case _:
            raise BadAddress("The multiaddr goes on in a way that cannot be dialled.")


def _peer(text: str) -> str:
    try:
        public_of(text)
    except BadKey as error:
        raise BadAddress(str(error)) from None
    return text


def shareable(address: Address, reader: Address | None) -> bool:
    """Whether `address` can be of use to a peer that is connected from `reader`.

    Loopback addresses go only to peers on this machine, link-local and private ones only to peers that are
    themselves that near; public ones to all.
    """
    if not address.specific:
        return False
    near = Scope.PUBLIC if reader is None or reader.relay is not None else reader.scope
    if address.scope == Scope.PUBLIC:
        return True
    if address.scope == Scope.LOOPBACK:
        return near == Scope.LOOPBACK
    return near < Scope.PUBLIC
