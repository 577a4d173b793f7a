"""Finding peers on the local network (libp2p's mDNS discovery, specs/discovery/mdns.md).

Each node announces a random name under `_p2p._udp.local` with its real addresses as `dnsaddr=` texts. Members
of a private network announce under a name of their network, so two networks on one wire do not even see each
other's addresses.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from app.core.network.addresses import Address, BadAddress, parse_address

log: Final = logging.getLogger(__name__)
MAX_TEXTS: Final = 16
RESOLVE_MILLISECONDS: Final = 3000


def service_type(gossip_network_id: str | None) -> str:
    """The DNS-SD type under which a network's members announce themselves."""
    if gossip_network_id is None:
        return "_p2p._udp.local."
    digest = hashlib.sha256(b"swarmllm mdns\0" + gossip_network_id.encode()).hexdigest()
    return f"_p2p-{digest[:10]}._udp.local."


def to_text(addresses: Sequence[Address]) -> bytes:
    """The TXT record that announces `addresses`."""
    record = b""
    for address in addresses[:MAX_TEXTS]:
        item = b"dnsaddr=" + str(address).encode()
        if len(item) < 256:
            record += bytes([len(item)]) + item
    return record


def from_text(record: bytes) -> list[Address]:
    """The addresses in a TXT record from the wire; what cannot be read is left out."""
    addresses: list[Address] = []
    at = 0
    while at < len(record) and len(addresses) < MAX_TEXTS:
        item = record[at + 1 : at + 1 + record[at]]
        at += 1 + record[at]
        if not item.startswith(b"dnsaddr="):
            continue
        try:
            address = parse_address(item[8:].decode("ascii"))
        except (BadAddress, UnicodeDecodeError):
            continue
        if address.peer_id is not None:
            addresses.append(address)
    return addresses


class Mdns:
    """Announces and listens while entered. `found` is called on the loop with addresses of one peer."""

    def __init__(
        self,
        *,
        gossip_network_id: str | None,
        addresses: Sequence[Address],
        found: Callable[[list[Address]], None],
        interfaces: Sequence[str],
    ) -> None:
        self._type = service_type(gossip_network_id)
        self._addresses = addresses
        self._found = found
        self._interfaces = list(interfaces)
        self._name = f"{secrets.token_hex(16)}.{self._type}"
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._resolving: set[object] = set()

    async def __aenter__(self) -> "Mdns":
        self._zeroconf = AsyncZeroconf(interfaces=self._interfaces, ip_version=IPVersion.V4Only)
        port = next((address.port for address in self._addresses), 0)
        hosts = [address.host for address in self._addresses if address.kind == "ip4"]
        info = AsyncServiceInfo(
            self._type,
            self._name,
            port=port,
            properties=to_text(self._addresses),
            server=f"{secrets.token_hex(8)}.local.",
            parsed_addresses=list(dict.fromkeys(hosts)),
        )
        await self._zeroconf.async_register_service(info, cooperating_responders=True)
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, self._type, handlers=[self._changed])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed or name == self._name:
            return
        assert zeroconf.loop is not None
        task = zeroconf.loop.create_task(self._resolve(zeroconf, service_type, name), name="mdns resolve")
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, kind: str, name: str) -> None:
        info = AsyncServiceInfo(kind, name)
        if not await info.async_request(zeroconf, RESOLVE_MILLISECONDS):
            return
        by_peer: dict[str, list[Address]] = {}
        for address in from_text(info.text or b""):
            by_peer.setdefault(address.peer_id or "", []).append(address)
        for addresses in by_peer.values():
            self._found(addresses)
