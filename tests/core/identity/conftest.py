"""A keychain for each test, real or none, never the one of the person who runs the tests."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring.backend
import pytest

from tests.support.keyring_service import SecretService

UseKeychain = Callable[[dict[str, str]], None]


def forget_found_rings() -> None:
    vars(keyring.backend.get_all_keyring).pop("saved_result", None)


@pytest.fixture
def use_keychain(monkeypatch: pytest.MonkeyPatch) -> Iterator[UseKeychain]:
    """Points keyring to what the given environment leads to."""

    def use(environ: dict[str, str]) -> None:
        for name in ("DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        forget_found_rings()

    yield use
    forget_found_rings()


@pytest.fixture
def no_keychain(use_keychain: UseKeychain, tmp_path: Path) -> None:
    use_keychain({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})


@pytest.fixture(scope="session")
def secret_service() -> Iterator[SecretService]:
    with tempfile.TemporaryDirectory(prefix="ring") as folder, SecretService(Path(folder)) as service:
        yield service


@pytest.fixture
def real_keychain(use_keychain: UseKeychain, secret_service: SecretService) -> None:
    use_keychain(secret_service.environ)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder
