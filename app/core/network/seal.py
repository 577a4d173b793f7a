"""Tier 3: sealed gossip, sans-IO.

A message is signed by its origin over network, topic, time, id and body, and the whole is encrypted with a
key that follows from the network's name and the current hour. For the public network that name is public, so
the encryption only keeps bystanders out; who spoke is proven by the signature alone, and an unsigned or
misattributed message never gets past `open`. A message is accepted once, within five minutes of its
signing.

Layout: `[u8 version][u32 epoch][12-byte nonce][ChaCha20-Poly1305(msgpack of _Signed)]`.
"""

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.core.kernel.errors import NetworkError
from app.core.network.keys import NodeKeys, verify

PUBLIC_NETWORK: Final = "swarmllm-mainnet-v1"
EPOCH_SECONDS: Final = 3600
WINDOW_SECONDS: Final = 300.0
MAX_BODY: Final = 1 << 20
MAX_SEEN: Final = 200_000
_VERSION: Final = 1
_HEAD: Final = 17
_DOMAIN: Final = b"swarmllm gossip 1\0"


class Reason(Enum):
    """Why a gossip message was refused, and so how much the peer that passed it on is to blame."""

    MALFORMED = "malformed"
    FOREIGN = "foreign"
    FORGED = "forged"
    STALE = "stale"
    REPLAYED = "replayed"


class Refused(NetworkError):
    """A gossip message was not accepted."""

    code = "gossip_refused"

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"A gossip message was refused because it is {reason.value}.")
        self.reason = reason


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic message: `origin` is the node id that signed `body`, at `signed_at` (unix seconds)."""

    origin: str
    signed_at: float
    body: bytes


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    origin: bytes
    milliseconds: int
    id: bytes
    body: bytes
    signature: bytes


def network_secret(gossip_network_id: str | None) -> bytes:
    """32 bytes that only members of the same network share; the public network's follow from its name."""
    name = PUBLIC_NETWORK if gossip_network_id is None else f"private:{gossip_network_id}"
    return hashlib.sha256(b"swarmllm network\0" + name.encode()).digest()


class Gossip:
    """Seals and opens the gossip of one network.

    `wall` is the unix time in seconds; `random` returns that many random bytes.
    """

    def __init__(
        self,
        *,
        keys: NodeKeys,
        secret: bytes,
        wall: Callable[[], float],
        random: Callable[[int], bytes],
        max_seen: int = MAX_SEEN,
    ) -> None:
        self._keys = keys
        self._secret = secret
        self._wall = wall
        self._random = random
        self._ciphers: dict[int, ChaCha20Poly1305] = {}
        self._seen = SeenMessages(max_seen)
        self._decode = msgspec.msgpack.Decoder(_Signed)

    def seal_signed(self, topic: str, body: bytes) -> bytes:
        """`body` signed and sealed for `topic`. Raises ValueError when it is over MAX_BODY bytes."""
        if len(body) > MAX_BODY:
            raise ValueError(f"A gossip message of {len(body)} bytes is over the bound.")
        now = self._wall()
        epoch, milliseconds, identity = int(now) // EPOCH_SECONDS, int(now * 1000), self._random(16)
        signed = _Signed(
            origin=self._keys.public,
            milliseconds=milliseconds,
            id=identity,
            body=body,
            signature=self._keys.sign(self._to_sign(topic, milliseconds, identity, body)),
        )
        head = bytes([_VERSION]) + epoch.to_bytes(4, "big") + self._random(12)
        return head + self._cipher(epoch).encrypt(
            head[5:], msgspec.msgpack.encode(signed), head + topic.encode()
        )

    def open(self, topic: str, data: bytes) -> Opened:
        """The message in `data`, which came in on `topic`. Raises Refused; never anything else."""
        signed = self._decrypt(topic, data)
        now = self._wall()
        at = signed.milliseconds / 1000
        if not verify(
            signed.origin, signed.signature, self._to_sign(topic, signed.milliseconds, signed.id, signed.body)
        ):
            raise Refused(Reason.FORGED)
        if abs(now - at) > WINDOW_SECONDS:
            raise Refused(Reason.STALE)
        if not self._seen.add(signed.origin, signed.id, at, now):
            raise Refused(Reason.REPLAYED)
        return Opened(origin=signed.origin.hex(), signed_at=at, body=signed.body)

    def _decrypt(self, topic: str, data: bytes) -> _Signed:
        if not _HEAD < len(data) <= MAX_BODY + 512 or data[0] != _VERSION:
            raise Refused(Reason.MALFORMED)
        epoch = int.from_bytes(data[1:5], "big")
        if abs(epoch - int(self._wall()) // EPOCH_SECONDS) > 1:
            raise Refused(Reason.STALE)
        try:
            plain = self._cipher(epoch).decrypt(data[5:_HEAD], data[_HEAD:], data[:_HEAD] + topic.encode())
        except InvalidTag:
            raise Refused(Reason.FOREIGN) from None
        try:
            signed = self._decode.decode(plain)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refused(Reason.MALFORMED) from None
        if len(signed.id) != 16 or not 0 <= signed.milliseconds < 1 << 53 or len(signed.body) > MAX_BODY:
            raise Refused(Reason.MALFORMED)
        return signed

    def _cipher(self, epoch: int) -> ChaCha20Poly1305:
        cipher = self._ciphers.get(epoch)
        if cipher is None:
            key = HKDF(
                algorithm=hashes.SHA256(),
                length=32,
                salt=b"swarmllm gossip epoch",
                info=epoch.to_bytes(4, "big"),
            ).derive(self._secret)
            self._ciphers = {old: kept for old, kept in self._ciphers.items() if abs(old - epoch) <= 2}
            cipher = self._ciphers[epoch] = ChaCha20Poly1305(key)
        return cipher

    def _to_sign(self, topic: str, milliseconds: int, identity: bytes, body: bytes) -> bytes:
        name = topic.encode()
        return b"".join(
            (
                _DOMAIN,
                self._secret,
                len(name).to_bytes(2, "big"),
                name,
                milliseconds.to_bytes(8, "big"),
                identity,
                body,
            )
        )


class SeenMessages:
    """Which messages were accepted within the window, in bounded memory.

    When full it forgets the older half of the origin that filled it most, and takes nothing as old from that
    origin any more: a flood costs its sender, and no message is ever accepted twice.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._origins: dict[bytes, _Origin] = {}
        self._swept = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, origin: bytes, identity: bytes, at: float, now: float) -> bool:
        """Records a message signed `at`; False when it was there already or is older than what is kept."""
        if now - self._swept > WINDOW_SECONDS / 5:
            self._sweep(now)
        record = self._origins.setdefault(origin, _Origin())
        if at <= record.floor or identity in record.messages:
            return False
        record.messages[identity] = at
        self._count += 1
        if self._count > self._capacity:
            self._halve()
        return True

    def _sweep(self, now: float) -> None:
        self._swept = now
        oldest = now - WINDOW_SECONDS
        for origin, record in list(self._origins.items()):
            record.messages = {key: at for key, at in record.messages.items() if at >= oldest}
            if not record.messages and record.floor < oldest:
                del self._origins[origin]
        self._count = sum(len(record.messages) for record in self._origins.values())

    def _halve(self) -> None:
        record = max(self._origins.values(), key=lambda candidate: len(candidate.messages))
        ordered = sorted(record.messages.items(), key=lambda entry: entry[1])
        middle = (len(ordered) + 1) // 2
        record.floor = max(record.floor, ordered[middle - 1][1])
        record.messages = {key: at for key, at in ordered[middle:] if at > record.floor}
        self._count += len(record.messages) - len(ordered)


class _Origin:
    def __init__(self) -> None:
        self.floor = float("-inf")
        self.messages: dict[bytes, float] = {}
