"""Decides where a data directory's secrets are kept, and moves them when a safer place appears.

In order of preference: keychain, vault, files. A directory stays with the keychain or the vault once it
uses it, because making new keys would silently make another node; only plain files are left for something
better, by copying, noting the new place, and then removing the files.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from app.core.identity.backends import Backend, FileBackend
from app.core.identity.keychain import KeychainBackend, open_keychain
from app.core.identity.passphrase import CREDENTIAL_NAME, PASSPHRASE, PASSPHRASE_FILE, find_passphrase
from app.core.identity.record import Record, new_record, read_record, write_record
from app.core.identity.secrets import Secrets
from app.core.identity.vault import VaultBackend
from app.core.kernel.errors import SecretsError

log = logging.getLogger(__name__)

RECORD_NAME = "secrets.json"
VAULT_NAME = "vault.json"
FOLDER_NAME = "secrets"

# A new node must not wait long for a keychain nobody will unlock; an old one gives its user time to.
PROBE_SECONDS = 4.0
UNLOCK_SECONDS = 30.0


async def open_secrets(data_dir: Path, environ: Mapping[str, str]) -> Secrets:
    """The secrets of the node whose data directory is `data_dir`, which must exist and be locked.

    `environ` says where the vault's passphrase is. Raises SecretsError if the directory's secrets cannot
    be reached now.
    """
    return await asyncio.to_thread(_open, data_dir, environ)


async def read_secret(data_dir: Path, environ: Mapping[str, str], name: str) -> str | None:
    """The secret `name` where it lies, moving and making nothing, so that a node may be running.

    None if the directory has no such secret. Raises SecretsError.
    """
    return await asyncio.to_thread(_read, data_dir, environ, name)


def _read(data_dir: Path, environ: Mapping[str, str], name: str) -> str | None:
    record = read_record(data_dir / RECORD_NAME) or _adopt(data_dir)
    if record is None:
        return None
    return _store_of(data_dir, record, environ).get(name)


def _store_of(data_dir: Path, record: Record, environ: Mapping[str, str]) -> Backend:
    """Where `record` says that the secrets are."""
    if record.backend == "keychain":
        return _keychain_again(record)
    if record.backend == "vault":
        return _vault_again(data_dir, environ)
    return FileBackend(data_dir / FOLDER_NAME)


def _open(data_dir: Path, environ: Mapping[str, str]) -> Secrets:
    record = read_record(data_dir / RECORD_NAME) or _adopt(data_dir) or new_record("file")
    if record.backend == "file":
        return _prefer(data_dir, record, environ)
    store = _store_of(data_dir, record, environ)
    _remove_moved(FileBackend(data_dir / FOLDER_NAME), store)
    return _use(data_dir, record, store, None)


def _adopt(data_dir: Path) -> Record | None:
    """A record for secrets that are there without one."""
    if (data_dir / VAULT_NAME).exists():
        return new_record("vault")
    names = FileBackend(data_dir / FOLDER_NAME).names()
    return msgspec.structs.replace(new_record("file"), names=names) if names else None


def _keychain_again(record: Record) -> KeychainBackend:
    try:
        return open_keychain(namespace=record.namespace, timeout=UNLOCK_SECONDS)
    except SecretsError as error:
        raise SecretsError(
            f"This node's keys are in this user's keychain, which cannot be used now: {error} "
            "Unlock it, or start the node from the desktop session where it worked."
        ) from error


def _vault_again(data_dir: Path, environ: Mapping[str, str]) -> VaultBackend:
    passphrase = find_passphrase(environ)
    if passphrase is None:
        raise SecretsError(
            f"This node's keys are in the encrypted vault {data_dir / VAULT_NAME}, and no passphrase was "
            f"given. Set {PASSPHRASE_FILE} or {PASSPHRASE}, or provide the systemd credential or Docker "
            f"secret {CREDENTIAL_NAME}."
        )
    return _vault(data_dir, passphrase)


def _vault(data_dir: Path, passphrase: str) -> VaultBackend:
    vault = VaultBackend(data_dir / VAULT_NAME, passphrase=passphrase)
    vault.open()
    return vault


def _prefer(data_dir: Path, record: Record, environ: Mapping[str, str]) -> Secrets:
    """Takes the best place there is for a new directory, or one whose secrets are plain files."""
    files = FileBackend(data_dir / FOLDER_NAME)
    passphrase = find_passphrase(environ)
    better: Backend
    try:
        better = open_keychain(namespace=record.namespace, timeout=PROBE_SECONDS)
    except SecretsError as error:
        if passphrase is None:
            return _use(data_dir, record, files, _file_warning(data_dir, error))
        better = _vault(data_dir, passphrase)
    return _use(data_dir, _move(data_dir, record, files, better), better, None)


def _move(data_dir: Path, record: Record, files: FileBackend, better: Backend) -> Record:
    for name in record.names:
        value = files.get(name)
        if value is None:
            raise SecretsError(
                f'The secret "{name}" of this node is no longer in {data_dir / FOLDER_NAME}. Restore it; or '
                f"remove {data_dir / RECORD_NAME}, and the node makes new keys and is a new node to others."
            )
        better.set(name, value)
    moved = msgspec.structs.replace(record, backend=better.kind)
    write_record(data_dir / RECORD_NAME, moved)
    _remove_moved(files, better)
    if record.names:
        log.info("Moved %d secrets from plain files to the %s.", len(record.names), better.kind)
    return moved


def _remove_moved(files: FileBackend, store: Backend) -> None:
    """Removes plain files whose secrets `store` has; a crash may have left them behind."""
    for name in files.names():
        if store.get(name) is not None:
            files.delete(name)


def _use(data_dir: Path, record: Record, store: Backend, warning: str | None) -> Secrets:
    path = data_dir / RECORD_NAME
    if not path.exists():
        write_record(path, record)
    return Secrets(store=store, record=record, record_path=path, warning=warning)


def _file_warning(data_dir: Path, reason: SecretsError) -> str:
    return (
        f"Keys are kept unencrypted in {data_dir / FOLDER_NAME}, readable by this user only, because: "
        f"{reason} Start the node in a session with a keychain, or set {PASSPHRASE_FILE}, and they move to "
        "a safer place."
    )
