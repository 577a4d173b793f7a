"""Where secrets are kept: the choice, moving to a safer place, and never losing an identity silently."""

import gc
import json
import tempfile
from pathlib import Path

import pytest

from app.core.identity.keys import load_api_key, load_node_key
from app.core.identity.opening import open_secrets, read_secret
from app.core.kernel.errors import SecretsError
from tests.core.identity.conftest import UseKeychain
from tests.support.keyring_service import SecretService

VAULT = {"SWARMLLM_VAULT_PASSPHRASE": "correct horse"}


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.usefixtures("real_keychain")
async def test_a_working_keychain_keeps_the_keys_and_the_disk_none(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, {})
    assert (secrets.backend, secrets.warning) == ("keychain", None)
    node, api = await load_node_key(secrets), await load_api_key(secrets)
    again = await open_secrets(data_dir, {})
    assert (await load_node_key(again)).node_id == node.node_id
    assert await load_api_key(again) == api
    assert api.encode() not in all_bytes(data_dir)


@pytest.mark.usefixtures("real_keychain")
async def test_two_data_directories_do_not_share_entries(tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ids.add((await load_node_key(await open_secrets(tmp_path / name, {}))).node_id)
    assert len(ids) == 2


@pytest.mark.usefixtures("real_keychain")
async def test_the_keychain_is_preferred_to_a_vault(data_dir: Path) -> None:
    assert (await open_secrets(data_dir, VAULT)).backend == "keychain"


@pytest.mark.usefixtures("real_keychain")
async def test_a_deleted_secret_is_gone_and_may_be_made_anew(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, {})
    await secrets.set("provider_key", "one")
    await secrets.delete("provider_key")
    assert await secrets.get("provider_key") is None
    await secrets.delete("provider_key")


@pytest.mark.usefixtures("real_keychain")
async def test_an_entry_removed_behind_the_nodes_back_is_an_error_not_a_new_identity(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, {})
    await load_node_key(secrets)
    record = json.loads((data_dir / "secrets.json").read_text())
    record["namespace"] = "0" * 16
    (data_dir / "secrets.json").write_text(json.dumps(record))
    with pytest.raises(SecretsError, match='secret "node_key" of this node is no longer in the keychain'):
        await load_node_key(await open_secrets(data_dir, {}))


@pytest.mark.usefixtures("no_keychain")
async def test_without_a_keychain_a_passphrase_makes_a_vault(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, VAULT)
    assert (secrets.backend, secrets.warning) == ("vault", None)
    node = await load_node_key(secrets)
    api = await load_api_key(secrets)
    assert api.encode() not in all_bytes(data_dir)
    assert (await load_node_key(await open_secrets(data_dir, VAULT))).node_id == node.node_id


@pytest.mark.usefixtures("no_keychain")
async def test_without_either_files_are_used_and_the_warning_says_so(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, {})
    assert secrets.backend == "file"
    assert secrets.warning is not None
    assert f"Keys are kept unencrypted in {data_dir / 'secrets'}" in secrets.warning
    node = await load_node_key(secrets)
    assert (data_dir / "secrets").stat().st_mode & 0o777 == 0o700
    assert (data_dir / "secrets" / "node_key").stat().st_mode & 0o777 == 0o600
    assert (await load_node_key(await open_secrets(data_dir, {}))).node_id == node.node_id


async def test_plain_files_move_to_the_keychain_when_there_is_one(
    data_dir: Path, tmp_path: Path, use_keychain: UseKeychain, secret_service: SecretService
) -> None:
    use_keychain({"XDG_CONFIG_HOME": str(tmp_path)})
    secrets = await open_secrets(data_dir, {})
    node, api = await load_node_key(secrets), await load_api_key(secrets)
    use_keychain(secret_service.environ)
    moved = await open_secrets(data_dir, {})
    assert (moved.backend, moved.warning) == ("keychain", None)
    assert (await load_node_key(moved)).node_id == node.node_id
    assert not (data_dir / "secrets").exists()
    assert api.encode() not in all_bytes(data_dir)


@pytest.mark.usefixtures("no_keychain")
async def test_plain_files_move_to_a_vault_when_a_passphrase_comes(data_dir: Path) -> None:
    node = await load_node_key(await open_secrets(data_dir, {}))
    moved = await open_secrets(data_dir, VAULT)
    assert moved.backend == "vault"
    assert (await load_node_key(moved)).node_id == node.node_id
    assert not (data_dir / "secrets").exists()


@pytest.mark.usefixtures("no_keychain")
@pytest.mark.parametrize("step", ["write_record", "_remove_moved"])
async def test_a_move_that_was_cut_off_is_finished_at_the_next_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    node = await load_node_key(await open_secrets(data_dir, {}))

    def cut_off(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(f"app.core.identity.opening.{step}", cut_off)
        with pytest.raises(InterruptedError):
            await open_secrets(data_dir, VAULT)
    moved = await open_secrets(data_dir, VAULT)
    assert moved.backend == "vault"
    assert (await load_node_key(moved)).node_id == node.node_id
    assert not (data_dir / "secrets").exists()


@pytest.mark.usefixtures("no_keychain")
@pytest.mark.parametrize("environ", [VAULT, {}], ids=["vault", "file"])
async def test_one_secret_can_be_read_beside_a_running_node(data_dir: Path, environ: dict[str, str]) -> None:
    assert await read_secret(data_dir, environ, "api_key") is None
    api = await load_api_key(await open_secrets(data_dir, environ))
    before = all_bytes(data_dir)
    assert await read_secret(data_dir, VAULT, "api_key") == api
    assert all_bytes(data_dir) == before


async def test_a_node_of_the_keychain_does_not_start_anew_without_it(
    data_dir: Path, tmp_path: Path, use_keychain: UseKeychain, secret_service: SecretService
) -> None:
    use_keychain(secret_service.environ)
    await load_node_key(await open_secrets(data_dir, {}))
    use_keychain({"XDG_CONFIG_HOME": str(tmp_path)})
    before = all_bytes(data_dir)
    with pytest.raises(SecretsError, match="keys are in this user's keychain, which cannot be used now"):
        await open_secrets(data_dir, VAULT)
    assert all_bytes(data_dir) == before


@pytest.mark.usefixtures("no_keychain")
async def test_a_node_of_the_vault_does_not_start_anew_without_its_passphrase(data_dir: Path) -> None:
    await load_node_key(await open_secrets(data_dir, VAULT))
    with pytest.raises(SecretsError, match="no passphrase was given"):
        await open_secrets(data_dir, {})
    with pytest.raises(SecretsError, match="passphrase is wrong or the file is damaged"):
        await open_secrets(data_dir, {"SWARMLLM_VAULT_PASSPHRASE": "wrong"})


@pytest.mark.usefixtures("no_keychain")
@pytest.mark.parametrize("environ", [VAULT, {}], ids=["vault", "file"])
async def test_secrets_whose_record_was_lost_are_found_again(data_dir: Path, environ: dict[str, str]) -> None:
    node = await load_node_key(await open_secrets(data_dir, environ))
    (data_dir / "secrets.json").unlink()
    assert (await load_node_key(await open_secrets(data_dir, environ))).node_id == node.node_id


@pytest.mark.usefixtures("no_keychain")
async def test_a_damaged_record_is_an_error(data_dir: Path) -> None:
    (data_dir / "secrets.json").write_text('{"namespace": "x", "backend": "cloud"}')
    with pytest.raises(SecretsError, match="is damaged"):
        await open_secrets(data_dir, {})


@pytest.mark.usefixtures("no_keychain")
async def test_a_damaged_key_is_an_error(data_dir: Path) -> None:
    secrets = await open_secrets(data_dir, {})
    await secrets.set("node_key", "g" * 64)
    with pytest.raises(SecretsError, match="must be 64 hex digits"):
        await load_node_key(secrets)


@pytest.mark.usefixtures("no_keychain")
async def test_names_of_secrets_cannot_leave_the_folder(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="no name for a secret"):
        await (await open_secrets(data_dir, {})).set("../x", "1")


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ("keyring.backends.fail.Keyring", "This session has no keychain."),
        ("keyring.backends.null.Keyring", "This session has no keychain."),
        ("tests.support.keyring_rings.PlaintextKeyring", "This session has no keychain."),
        ("tests.support.keyring_rings.Forgetful", "The keychain did not keep a test entry."),
        ("tests.support.keyring_rings.Silent", "The keychain did not answer within"),
        ("no.such.Keyring", "The keychain failed: No module named 'no'."),
    ],
)
async def test_what_is_no_real_keychain_is_refused_with_the_reason(
    data_dir: Path, use_keychain: UseKeychain, monkeypatch: pytest.MonkeyPatch, ring: str, reason: str
) -> None:
    monkeypatch.setattr("app.core.identity.opening.PROBE_SECONDS", 1.0)
    use_keychain({"PYTHON_KEYRING_BACKEND": ring})
    secrets = await open_secrets(data_dir, {})
    assert secrets.backend == "file"
    assert secrets.warning is not None
    assert reason in secrets.warning


# keyring leaves its connection open when the collection cannot be unlocked.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_secret_service_that_nobody_can_unlock_is_not_used(
    data_dir: Path, use_keychain: UseKeychain
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="ring") as folder,
        SecretService(Path(folder), unlocked=False) as service,
    ):
        use_keychain(service.environ)
        assert (await open_secrets(data_dir, VAULT)).backend == "vault"
    gc.collect()
