"""Secrets in one encrypted file that a passphrase opens.

The file is JSON: the parameters of scrypt (RFC 7914), a nonce, and the box: ChaCha20-Poly1305 (RFC 8439)
over a JSON object of names and values, with the format and the parameters as associated data. Every
change encrypts the whole object anew under a new nonce and replaces the file at once.
"""

import json
import os
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from app.core.identity.backends import BackendName
from app.core.kernel.errors import SecretsError, StorageError
from app.core.storage.files import read_private, write_private

MAX_VAULT_BYTES = 1 << 20

_Bytes = Annotated[str, msgspec.Meta(min_length=24, max_length=64, pattern="^[0-9a-f]+$")]


class _Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the key is made. The bounds keep a foreign file from asking for more than 1 GiB of memory."""

    salt: _Bytes
    n: Annotated[int, msgspec.Meta(ge=1 << 14, le=1 << 20)]
    r: Annotated[int, msgspec.Meta(ge=8, le=8)]
    p: Annotated[int, msgspec.Meta(ge=1, le=4)]


class _Vault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    lock: _Lock
    nonce: _Bytes
    box: str


class VaultBackend:
    """The vault file at `path`. Entering secrets needs the passphrase that the file was made with."""

    kind: BackendName = "vault"

    def __init__(self, path: Path, *, passphrase: str) -> None:
        self._path = path
        self._passphrase = passphrase
        self._lock: _Lock | None = None
        self._key = b""
        self._content: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"VaultBackend({self._path})"

    def open(self) -> None:
        """Reads the vault, or prepares a new one if there is no file.

        Takes about a tenth of a second and 32 MiB. Raises SecretsError: wrong passphrase, damaged file.
        """
        data = self._read()
        if data is None:
            self._take(_Lock(salt=os.urandom(16).hex(), n=1 << 15, r=8, p=1))
            return
        try:
            vault = msgspec.json.decode(data, type=_Vault)
            nonce, box = bytes.fromhex(vault.nonce), bytes.fromhex(vault.box)
            self._take(vault.lock)
        except (ValueError, msgspec.DecodeError) as error:
            raise SecretsError(f"The vault {self._path} is damaged or of another version.") from error
        try:
            plain = ChaCha20Poly1305(self._key).decrypt(nonce, box, _bound(vault.lock))
            self._content = msgspec.json.decode(plain, type=dict[str, str])
        except (InvalidTag, ValueError, msgspec.DecodeError) as error:
            raise SecretsError(
                f"The vault {self._path} does not open: the passphrase is wrong or the file is damaged."
            ) from error

    def get(self, name: str) -> str | None:
        return self._content.get(name)

    def set(self, name: str, value: str) -> None:
        self._write(self._content | {name: value})

    def delete(self, name: str) -> None:
        if name in self._content:
            self._write({kept: value for kept, value in self._content.items() if kept != name})

    def _take(self, lock: _Lock) -> None:
        self._lock = lock
        derive = Scrypt(salt=bytes.fromhex(lock.salt), length=32, n=lock.n, r=lock.r, p=lock.p)
        self._key = derive.derive(self._passphrase.encode("utf-8"))

    def _read(self) -> bytes | None:
        try:
            return read_private(self._path, limit=MAX_VAULT_BYTES)
        except StorageError as error:
            raise SecretsError(error.message) from error

    def _write(self, content: dict[str, str]) -> None:
        if self._lock is None:
            raise SecretsError(f"The vault {self._path} is not open.")
        nonce = os.urandom(12)
        box = ChaCha20Poly1305(self._key).encrypt(nonce, msgspec.json.encode(content), _bound(self._lock))
        vault = _Vault(format=1, lock=self._lock, nonce=nonce.hex(), box=box.hex())
        try:
            write_private(self._path, msgspec.json.format(msgspec.json.encode(vault)))
        except StorageError as error:
            raise SecretsError(error.message) from error
        self._content = content


def _bound(lock: _Lock) -> bytes:
    return json.dumps(["swarmllm-vault", 1, lock.salt, lock.n, lock.r, lock.p]).encode()
