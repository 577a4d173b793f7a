"""A node and its commands with a real keychain."""

import http.client
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.keyring_service import SecretService
from tests.support.node_process import running_node


@pytest.mark.slow
def test_keys_live_in_the_keychain_and_the_printed_key_opens_the_api(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="ring") as folder,
        SecretService(Path(folder)) as service,
        running_node(tmp_path, **service.environ) as node,
    ):
        _, status = node.request("GET", "/v1/status")
        assert (status["secrets_backend"], status["warnings"]) == ("keychain", [])
        assert not (node.data_dir / "secrets").exists()
        command = [sys.executable, "-m", "app", "key", "-d", str(node.data_dir)]
        told = subprocess.run(
            command, env=service.environ, capture_output=True, text=True, timeout=60, check=True
        )
        key = told.stdout.strip()
        assert answered(node.port, key) == 200
        assert answered(node.port, "0" * 64) == 401
        assert key not in node.log_text()


def answered(port: int, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status
    finally:
        connection.close()
