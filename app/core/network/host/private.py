"""Private networks: every byte goes through a stream cipher with the network's key before Noise starts.

Whoever has another key sees noise and gets as far as the first message. The key is SHA-256 of the network's
secret, so `gossip_network_id` names the network and opens it.
"""

import hashlib

from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.security.pnet.psk_conn import PskConn
from multiaddr.multiaddr import Multiaddr


def psk_of(secret: bytes) -> str:
    """The pre-shared key, 64 hex digits, of a network's 32-byte secret."""
    return hashlib.sha256(b"swarmllm private network\0" + secret).hexdigest()


class ProtectedConn(PskConn):
    """A raw connection under a pre-shared key that still tells what lies below it."""

    def __init__(self, conn: IRawConnection, psk: str) -> None:
        super().__init__(conn, psk)
        self._below = conn
        self.is_initiator = conn.is_initiator

    def get_transport_addresses(self) -> list[Multiaddr]:
        return list(self._below.get_transport_addresses())

    def get_connection_type(self) -> ConnectionType:
        return self._below.get_connection_type()
