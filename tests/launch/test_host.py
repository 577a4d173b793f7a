"""The real program: what it prints and exits with before, and without, a running node."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.host import CommandError, Flags
from app.launch.host import LaunchHost
from tests.support.cli_node import write_runtime


def program(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    hidden = ("SWARMLLM_", "DBUS_", "DISPLAY", "WAYLAND_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wrong_value_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = program("run", "--headless", "-d", str(tmp_path / "data"), SWARMLLM_NODE_LISTEN_PORT="abc")
    assert done.returncode == 2
    assert done.stderr == (
        "swarmllm: environment SWARMLLM_NODE_LISTEN_PORT: "
        "node.listen_port must be between 0 and 65535, not 'abc'\n"
    )
    assert not (tmp_path / "data").exists()


def test_config_shows_where_each_value_came_from(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[model]\nshard_size_mb = 64\n")
    done = program("config", "--json", "-d", str(tmp_path), "-p", "9", SWARMLLM_API_API_KEY="s" * 20)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["config_file"] == str(tmp_path / "config.toml")
    options = report["options"]
    assert options["node.listen_port"]["source"] == "command line --port"
    assert options["model.shard_size_mb"] | {"description": ""} == {
        "value": "64",
        "source": "config.toml",
        "description": "",
    }
    assert options["api.api_key"]["value"] == "set"
    assert "s" * 20 not in done.stdout + done.stderr


def test_key_is_told_only_when_there_is_one(tmp_path: Path) -> None:
    done = program("key", "-d", str(tmp_path))
    assert done.returncode == 1
    assert "has no API key yet" in done.stderr
    assert not list(tmp_path.iterdir())
    assert program("key", "-d", str(tmp_path), SWARMLLM_API_API_KEY="s" * 20).stdout == "s" * 20 + "\n"


def test_key_reads_what_a_node_left(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api_key").write_text("a" * 64)
    assert program("key", "-d", str(tmp_path)).stdout == "a" * 64 + "\n"


def test_the_node_is_found_through_its_data_directory(tmp_path: Path) -> None:
    host = LaunchHost(environ={})
    flags = Flags(values={"node.data_dir": str(tmp_path)})
    with pytest.raises(CommandError, match="No node is running with the data directory") as caught:
        host.connection(flags)
    assert caught.value.exit_code == 3
    write_runtime(tmp_path, "http://127.0.0.1:1", token="t")
    connection = host.connection(flags)
    assert (connection.url, connection.token) == ("http://127.0.0.1:1", "t")
    assert "token" not in repr(connection)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these always have a display")
@pytest.mark.parametrize(
    ("environ", "display"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"QT_QPA_PLATFORM": "offscreen"}, True),
    ],
)
def test_a_display_is_recognised(environ: dict[str, str], display: bool) -> None:
    assert LaunchHost(environ=environ).has_display() is display


@pytest.mark.parametrize("missing", ["PySide6", pytest.param("qasync", marks=pytest.mark.slow)])
def test_without_qts_libraries_the_way_out_is_named(tmp_path: Path, missing: str) -> None:
    text = (
        "import sys; from app.launch.host import LaunchHost, run_command; "
        f"LaunchHost.has_display = lambda host: True; sys.modules[{missing!r}] = None; "
        f"sys.exit(run_command(['run', '-d', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("swarmllm: No window can be opened: ")
    assert "--headless" in done.stderr
