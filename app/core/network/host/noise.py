"""Noise as libp2p shakes hands, with a faster way of carrying bytes afterwards.

The wire format is the specification's. Stock libp2p reads the two length bytes and the body of every message
separately and sends each message by itself; here whatever the socket holds is read at once, and one write
leaves as one.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession
from multiaddr.multiaddr import Multiaddr

MAX_PLAIN: Final = 65519
_READ: Final = 128 << 10


class NoiseTransport(Transport):
    """Noise XX; what it returns reads ahead."""

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return NoiseSession.after(await super().secure_inbound(conn), conn)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return NoiseSession.after(await super().secure_outbound(conn, peer_id), conn)


class NoiseSession(SecureSession):
    """A secured connection. One task reads and one writes at a time."""

    @classmethod
    def after(cls, session: ISecureConn, raw: IRawConnection) -> "NoiseSession":
        """Takes a connection over whose handshake is done."""
        assert isinstance(session, SecureSession)
        fast = cls(
            local_peer=session.local_peer,
            local_private_key=session.local_private_key,
            remote_peer=session.remote_peer,
            remote_permanent_pubkey=session.remote_permanent_pubkey,
            is_initiator=session.is_initiator,
            conn=session.conn,
        )
        fast._attach(session, raw)
        return fast

    def _attach(self, session: SecureSession, raw: IRawConnection) -> None:
        protocol = session.conn.noise_state.noise_protocol  # type: ignore[attr-defined]
        self._raw = raw
        self._encrypt = ChaCha20Poly1305(bytes(protocol.cipher_state_encrypt.k))
        self._decrypt = ChaCha20Poly1305(bytes(protocol.cipher_state_decrypt.k))
        self._sent: int = protocol.cipher_state_encrypt.n
        self._received: int = protocol.cipher_state_decrypt.n
        self._cipher = bytearray()
        self._plain = bytearray()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        parts: list[bytes] = []
        for start in range(0, len(view), MAX_PLAIN):
            nonce = bytes(4) + self._sent.to_bytes(8, "little")
            self._sent += 1
            sealed = self._encrypt.encrypt(nonce, view[start : start + MAX_PLAIN], None)
            parts += (len(sealed).to_bytes(2, "big"), sealed)
        await self._raw.write(b"".join(parts))

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, all that are there without `n`. Raises ConnectionClosedError at the end."""
        if n == 0:
            return b""
        while not self._plain:
            await self._read_more()
        if n is None or n < 0 or n >= len(self._plain):
            data = bytes(self._plain)
            self._plain.clear()
        else:
            data = bytes(memoryview(self._plain)[:n])
            del self._plain[:n]
        return data

    async def _read_more(self) -> None:
        chunk = await self._raw.read(_READ)
        if not chunk:
            raise ConnectionClosedError("The peer closed the connection.")
        self._cipher += chunk
        at = 0
        with memoryview(self._cipher) as view:
            while len(view) - at >= 2:
                end = at + 2 + int.from_bytes(view[at : at + 2], "big")
                if end > len(view):
                    break
                self._plain += self._open(view[at + 2 : end])
                at = end
        del self._cipher[:at]

    def _open(self, sealed: memoryview) -> bytes:
        nonce = bytes(4) + self._received.to_bytes(8, "little")
        try:
            plain = self._decrypt.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise ConnectionClosedError("The connection carried forged bytes.") from None
        finally:
            sealed.release()
        self._received += 1
        return plain

    async def close(self) -> None:
        await self._raw.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._raw.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        return list(self._raw.get_transport_addresses())

    def get_connection_type(self) -> ConnectionType:
        return self._raw.get_connection_type()
