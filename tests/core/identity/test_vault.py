"""The vault file: what it keeps, what it refuses, and where its passphrase comes from."""

import json
from pathlib import Path

import pytest

from app.core.identity.passphrase import find_passphrase
from app.core.identity.vault import VaultBackend
from app.core.kernel.errors import SecretsError


def opened(path: Path, passphrase: str = "p") -> VaultBackend:
    vault = VaultBackend(path, passphrase=passphrase)
    vault.open()
    return vault


def test_it_keeps_secrets_encrypted_and_private(tmp_path: Path) -> None:
    path = tmp_path / "vault.json"
    vault = opened(path)
    vault.set("a", "first secret")
    vault.set("b", "second")
    vault.delete("b")
    assert opened(path).get("a") == "first secret"
    assert opened(path).get("b") is None
    assert b"first secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "p'" not in repr(vault)


def test_every_change_uses_a_new_nonce(tmp_path: Path) -> None:
    vault = opened(tmp_path / "vault.json")
    nonces = set()
    for number in range(5):
        vault.set("a", str(number))
        nonces.add(json.loads((tmp_path / "vault.json").read_text())["nonce"])
    assert len(nonces) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vault: vault.update(box=vault["box"][:-2] + "00"), "does not open"),
        (lambda vault: vault.update(nonce="00" * 12), "does not open"),
        (lambda vault: vault["lock"].update(salt="11" * 16), "does not open"),
        (lambda vault: vault["lock"].update(n=1 << 14), "does not open"),
        (lambda vault: vault["lock"].update(n=1 << 30), "damaged or of another version"),
        (lambda vault: vault["lock"].update(n=40000), "damaged or of another version"),
        (lambda vault: vault.update(format=2), "damaged or of another version"),
        (lambda vault: vault.update(box="xyz"), "damaged or of another version"),
        (lambda vault: vault.pop("nonce"), "damaged or of another version"),
    ],
)
def test_changed_files_are_refused(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "vault.json"
    opened(path).set("a", "1")
    content = json.loads(path.read_text())
    change(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    with pytest.raises(SecretsError, match=message):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_vault_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.json"
    for content in (b"", b"[]", b"\xff\x00", b"[" * 100_000, b"x" * (2 << 20)):
        path.write_bytes(content)
        with pytest.raises(SecretsError):
            opened(path)


def test_the_passphrase_comes_from_the_first_place_that_has_one(tmp_path: Path) -> None:
    docker, systemd = tmp_path / "docker", tmp_path / "systemd"
    for folder in (docker, systemd):
        folder.mkdir()
    environ: dict[str, str] = {}
    assert find_passphrase(environ, docker_secrets=docker) is None
    (docker / "swarmllm_vault_passphrase").write_text("from docker\n")
    assert find_passphrase(environ, docker_secrets=docker) == "from docker"
    (systemd / "swarmllm_vault_passphrase").write_text(" from systemd \r\n")
    environ["CREDENTIALS_DIRECTORY"] = str(systemd)
    assert find_passphrase(environ, docker_secrets=docker) == " from systemd "
    (tmp_path / "file").write_text("from file")
    environ["SWARMLLM_VAULT_PASSPHRASE_FILE"] = str(tmp_path / "file")
    assert find_passphrase(environ, docker_secrets=docker) == "from file"
    environ["SWARMLLM_VAULT_PASSPHRASE"] = "from environment"
    assert find_passphrase(environ, docker_secrets=docker) == "from environment"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"x" * 5000])
def test_a_passphrase_file_that_gives_none_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SecretsError, match=f"passphrase file {file}"):
        find_passphrase({"SWARMLLM_VAULT_PASSPHRASE_FILE": str(file)})
