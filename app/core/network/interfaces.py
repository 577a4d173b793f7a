"""This machine's own addresses, to advertise real ones where the node listens on all."""

import socket
from collections.abc import Sequence

import psutil

from app.core.network.addresses import Address, BadAddress, Scope, parse_address


def own_hosts() -> tuple[str, ...]:
    """The IPv4 addresses of interfaces that are up, loopback last."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    hosts = [
        item.address
        for name, items in psutil.net_if_addrs().items()
        if name in up
        for item in items
        if item.family == socket.AF_INET
    ]
    return tuple(sorted(dict.fromkeys(hosts), key=lambda host: host.startswith("127.")))


def advertised(listening: Sequence[str], hosts: Sequence[str]) -> tuple[Address, ...]:
    """Where peers can find this node: `listening` with 0.0.0.0 replaced by each of `hosts`.

    Nearest last, because an invite has room for eight.
    """
    found: list[Address] = []
    for text in listening:
        try:
            address = parse_address(text)
        except BadAddress:
            continue
        if address.specific:
            found.append(address)
        elif address.kind == "ip4" and address.port:
            places = [
                Address("ip4", host, address.transport, address.port, address.peer_id) for host in hosts
            ]
            found += [place for place in places if place.specific]
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda place: (-place.scope, place.transport != "tcp")))


def lan_hosts(addresses: Sequence[Address]) -> tuple[str, ...]:
    """The interfaces' addresses on which mDNS makes sense."""
    hosts = [
        address.host for address in addresses if address.scope != Scope.LOOPBACK and address.kind == "ip4"
    ]
    return tuple(dict.fromkeys(hosts))
