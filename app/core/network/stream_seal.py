"""Keys of one stream, within a session: in order, one after the other, for as long as the stream lives.

A stream has keys of its own, so that one which stalls for an hour is not overtaken by the replay window of
all the others. The transport delivers its frames in order, so each counter must be the one after the last.
Every ten minutes of use the sender replaces its key by a hash of it (a ratchet), and the receiver follows.
"""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.kernel.errors import NetworkError
from app.core.network.frames import SEAL_BYTES, Frame, Packet, prefix_for, split

RATCHET_SECONDS: Final = 600.0
_HEAD_BYTES: Final = 12


class Undecryptable(NetworkError):
    """A sealed message is forged, replayed, or under keys this node does not hold."""

    code = "undecryptable"


def derive(secret: bytes, info: bytes) -> bytes:
    """32 bytes that follow from `secret` and `info` and do not lead back."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=b"swarmllm stream 1", info=info).derive(secret)


class _Half:
    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = ChaCha20Poly1305(key)
        self.generation = 0
        self.counter = 0

    def ratchet(self) -> None:
        self._key = derive(self._key, b"ratchet")
        self._cipher = ChaCha20Poly1305(self._key)
        self.generation += 1
        self.counter = 0

    def ahead(self) -> "_Half":
        """This half as it will be after the next ratchet."""
        later = _Half(derive(self._key, b"ratchet"))
        later.generation = self.generation + 1
        return later

    @property
    def head(self) -> bytes:
        return self.generation.to_bytes(4, "big") + self.counter.to_bytes(8, "big")

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        head = self.head
        self.counter += 1
        return head + self._cipher.encrypt(head, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        plain = self._cipher.decrypt(self.head, sealed[_HEAD_BYTES:], aad)
        self.counter += 1
        return plain


class StreamSeal:
    """Seals what this side sends on a stream and opens what the other does. `clock` counts seconds."""

    def __init__(self, *, secret: bytes, opened_here: bool, clock: Callable[[], float]) -> None:
        opener, acceptor = _Half(derive(secret, b"opener")), _Half(derive(secret, b"acceptor"))
        self._send, self._receive = (opener, acceptor) if opened_here else (acceptor, opener)
        self._clock = clock
        self._ratcheted = clock()

    def seal_frame(self, frame: Frame) -> bytes:
        """`frame` as it goes over the wire, its prefix authenticated. Raises BadFrame."""
        prefix = prefix_for(frame, sealed=True).pack()
        now = self._clock()
        if now - self._ratcheted >= RATCHET_SECONDS:
            self._send.ratchet()
            self._ratcheted = now
        return prefix + self._send.seal(frame.header + frame.payload, prefix)

    def open_packet(self, packet: Packet) -> Frame:
        """The frame in the next sealed packet. Raises Undecryptable, and then nothing has changed."""
        body = packet.body
        if len(body) < SEAL_BYTES:
            raise Undecryptable("A sealed frame is too short.")
        half = self._receive
        if body[:_HEAD_BYTES] != half.head:
            half = half.ahead()
            if body[:_HEAD_BYTES] != half.head:
                raise Undecryptable("A sealed frame is out of order or was sent a second time.")
        try:
            plain = half.open(body, packet.prefix.pack())
        except InvalidTag:
            raise Undecryptable("A sealed frame is not authentic.") from None
        self._receive = half
        return split(packet.prefix, plain)
