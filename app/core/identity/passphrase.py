"""Where the vault's passphrase comes from."""

import os
from collections.abc import Mapping
from pathlib import Path

from app.core.kernel.errors import SecretsError

PASSPHRASE = "SWARMLLM_VAULT_PASSPHRASE"  # noqa: S105 - the variable's name
PASSPHRASE_FILE = "SWARMLLM_VAULT_PASSPHRASE_FILE"  # noqa: S105 - the variable's name
CREDENTIAL_NAME = "swarmllm_vault_passphrase"
DOCKER_SECRETS = Path("/run/secrets")

MAX_PASSPHRASE_BYTES = 4096


def find_passphrase(environ: Mapping[str, str], *, docker_secrets: Path = DOCKER_SECRETS) -> str | None:
    """The passphrase, or None if none was given. The first of these that is there counts:

    SWARMLLM_VAULT_PASSPHRASE; the file SWARMLLM_VAULT_PASSPHRASE_FILE names; the systemd credential
    $CREDENTIALS_DIRECTORY/swarmllm_vault_passphrase; the Docker secret
    /run/secrets/swarmllm_vault_passphrase. One line end behind the text is not part of it.
    Raises SecretsError if a file that was named cannot be read, or the passphrase is empty.
    """
    if environ.get(PASSPHRASE):
        return environ[PASSPHRASE]
    if environ.get(PASSPHRASE_FILE):
        return _read(Path(environ[PASSPHRASE_FILE]).expanduser())
    folders = [docker_secrets]
    if environ.get("CREDENTIALS_DIRECTORY"):
        folders.insert(0, Path(environ["CREDENTIALS_DIRECTORY"]))
    for folder in folders:
        if os.access(folder / CREDENTIAL_NAME, os.F_OK):
            return _read(folder / CREDENTIAL_NAME)
    return None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_PASSPHRASE_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise SecretsError(f"The passphrase file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SecretsError(f"The passphrase file {file} is not UTF-8 text.") from error
    passphrase = text.removesuffix("\n").removesuffix("\r")
    if not passphrase or len(data) > MAX_PASSPHRASE_BYTES:
        raise SecretsError(f"The passphrase file {file} must hold 1 to {MAX_PASSPHRASE_BYTES} bytes of text.")
    return passphrase
