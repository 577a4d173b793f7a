"""Names and keys of nodes.

A node's identity is an Ed25519 key. Its node id is the hex of the public key; its libp2p peer id is the
base58btc text of the identity multihash of the protobuf-wrapped key (libp2p peer-ids specification), so each
can be computed from the other and nothing has to be looked up. The X25519 keys of pairwise sessions are the
same key on the Montgomery curve (RFC 7748, section 4.1; RFC 8032, section 5.1.5).
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_ID_PREFIX: Final = bytes.fromhex("002408011220")
_ID_TEXT_BYTES: Final = 52
_FIELD: Final = 2**255 - 19


class BadKey(ValueError):
    """Bytes or text that are no node's key or name."""


class NodeKeys:
    """The node's own key: signs, and agrees on secrets with other nodes.

    `seed` is the 32-byte Ed25519 seed. Neither it nor anything derived from it appears in `repr`.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise BadKey("A node key is 32 bytes.")
        self.seed = seed
        self._signing = Ed25519PrivateKey.from_private_bytes(seed)
        self._agreement = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:KEY_BYTES])
        self.public = self._signing.public_key().public_bytes_raw()
        self.node_id = self.public.hex()
        self.peer_id = peer_id_of(self.public)

    def sign(self, data: bytes) -> bytes:
        return self._signing.sign(data)

    def agree(self, montgomery: bytes) -> bytes:
        """The 32-byte secret shared with the owner of the X25519 key `montgomery`. Raises BadKey."""
        return exchange(self._agreement, montgomery)


def exchange(private: X25519PrivateKey, montgomery: bytes) -> bytes:
    """X25519. A key of low order, whose secret would be known to all, raises BadKey."""
    if len(montgomery) != KEY_BYTES:
        raise BadKey("An X25519 key is 32 bytes.")
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(montgomery))
    except ValueError:
        raise BadKey("The X25519 key is of low order.") from None


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` was made with the key of `public`. Never raises on hostile bytes."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def montgomery_of(public: bytes) -> bytes:
    """The X25519 public key of the same secret: u = (1 + y) / (1 - y). Raises BadKey."""
    if len(public) != KEY_BYTES:
        raise BadKey("An Ed25519 public key is 32 bytes.")
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _FIELD or y in (0, 1, _FIELD - 1):
        raise BadKey("The bytes are no usable Ed25519 public key.")
    u = (1 + y) * pow(1 - y, _FIELD - 2, _FIELD) % _FIELD
    return u.to_bytes(KEY_BYTES, "little")


def new_agreement_key(random_bytes: bytes) -> tuple[X25519PrivateKey, bytes]:
    """An ephemeral X25519 key of 32 random bytes, and its public half."""
    private = X25519PrivateKey.from_private_bytes(random_bytes)
    return private, private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )


def peer_id_of(public: bytes) -> str:
    """The libp2p peer id ("12D3KooW...") of a 32-byte Ed25519 public key."""
    if len(public) != KEY_BYTES:
        raise BadKey("An Ed25519 public key is 32 bytes.")
    raw = _ID_PREFIX + public
    number = int.from_bytes(raw, "big")
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def public_of(peer_id: str) -> bytes:
    """The Ed25519 public key inside a peer id. Raises BadKey for any other text or kind of key."""
    if len(peer_id) != _ID_TEXT_BYTES:
        raise BadKey("A peer id has 52 characters.")
    number = 0
    for letter in peer_id:
        digit = _DIGITS.get(letter)
        if digit is None:
            raise BadKey("A peer id is base58 text.")
        number = number * 58 + digit
    size = len(_ID_PREFIX) + KEY_BYTES
    if number >> (8 * size):
        raise BadKey("The text is no peer id.")
    raw = number.to_bytes(size, "big")
    if not raw.startswith(_ID_PREFIX) or peer_id_of(raw[len(_ID_PREFIX) :]) != peer_id:
        raise BadKey("The peer id does not hold an Ed25519 key.")
    return raw[len(_ID_PREFIX) :]


def node_id_of(peer_id: str) -> str:
    """The node id (hex) of a peer id. Raises BadKey."""
    return public_of(peer_id).hex()
