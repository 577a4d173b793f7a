"""The node's own keys: who it is to others, and what its API asks of clients."""

import re
import secrets as random_source
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.core.kernel.errors import SecretsError

NODE_KEY = "node_key"
API_KEY = "api_key"

_HEX_32 = re.compile(r"[0-9a-f]{64}")


class SecretStore(Protocol):
    async def get(self, name: str) -> str | None: ...

    async def set(self, name: str, value: str) -> None: ...


class NodeKey:
    """An Ed25519 key pair (RFC 8032), made from its 32-byte `seed`, which is a secret."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_bytes: bytes = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"NodeKey({self.short_id})"

    @property
    def node_id(self) -> str:
        """The public key in 64 hex digits."""
        return self.public_bytes.hex()

    @property
    def short_id(self) -> str:
        """The first 8 bytes of the public key in 16 hex digits, for people."""
        return self.public_bytes[:8].hex()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._private.sign(message)


async def load_node_key(secrets: SecretStore) -> NodeKey:
    """The node's key, made at the first call. Raises SecretsError."""
    return NodeKey(bytes.fromhex(await _load(secrets, NODE_KEY)))


async def load_api_key(secrets: SecretStore) -> str:
    """The API's bearer key in 64 hex digits, made at the first call. Raises SecretsError."""
    return await _load(secrets, API_KEY)


async def _load(secrets: SecretStore, name: str) -> str:
    value = await secrets.get(name)
    if value is None:
        value = random_source.token_hex(32)
        await secrets.set(name, value)
        return value
    if not _HEX_32.fullmatch(value):
        raise SecretsError(f'The secret "{name}" of this node is damaged: it must be 64 hex digits.')
    return value
