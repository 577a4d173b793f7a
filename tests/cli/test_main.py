"""Commands that need no node: usage, exit codes, and which way a node is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import run
from tests.support.cli_node import FixedHost


def test_version(idle_host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"], host=idle_host) == 0
    assert capsys.readouterr().out == "swarmllm 1.2.3\n"
    assert run(["version", "--json"], host=idle_host) == 0
    assert json.loads(capsys.readouterr().out) == {"version": "1.2.3"}


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["models"],
        ["models", "add"],
        ["bench", "--iterations", "0"],
        ["bench", "--concurrency", "x"],
        ["chat", "--temperature", "nan"],
        ["chat", "--max-tokens", "-1"],
    ],
)
def test_a_wrong_usage_is_exit_code_2_and_no_traceback(
    idle_host: FixedHost, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert run(argv, host=idle_host) == 2
    said = capsys.readouterr().err
    assert "usage: swarmllm" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("argv", [["status"], ["bench"], ["chat", "hi"], ["models", "list"], ["stop"]])
def test_without_a_node_commands_say_so_with_exit_code_3(
    idle_host: FixedHost, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert run(argv, host=idle_host) == 3
    assert capsys.readouterr().err == "swarmllm: No node is running.\n"


def test_a_node_that_died_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"], host=FixedHost(data=tmp_path, url="http://127.0.0.1:9")) == 3
    assert "No node is running at http://127.0.0.1:9" in capsys.readouterr().err


def test_flags_become_options(idle_host: FixedHost) -> None:
    argv = ["run", "--headless", "-p", "9000", "-d", "/x", "-m", "m.gguf", "--gpu-layers", "99", "-vv"]
    assert run([*argv, "-c", "c.toml"], host=idle_host) == 0
    assert idle_host.ran is not None
    flags, headless = idle_host.ran
    assert headless
    assert flags.config == Path("c.toml")
    assert flags.values == {
        "node.listen_port": "9000",
        "node.data_dir": "/x",
        "inference.model_path": "m.gguf",
        "inference.gpu_layers": "99",
        "logging.level": "trace",
    }


def test_naming_a_node_to_meet_turns_the_network_on_unless_it_is_refused(idle_host: FixedHost) -> None:
    for argv, enabled in (
        (["--bootstrap", "one", "--bootstrap", "two"], "true"),
        (["--bootstrap", "one,two", "--no-network"], "false"),
    ):
        assert run(["run", "--headless", *argv], host=idle_host) == 0
        assert idle_host.ran is not None
        assert idle_host.ran[0].values == {
            "network.bootstrap_peers": "one,two",
            "network.enabled": enabled,
        }
    assert run(["--network", "run", "--headless"], host=idle_host) == 0
    assert idle_host.ran[0].values == {"network.enabled": "true"}


def test_flags_may_stand_before_the_command(idle_host: FixedHost) -> None:
    assert run(["-d", "/x", "-v", "run", "--headless"], host=idle_host) == 0
    assert idle_host.ran is not None
    assert idle_host.ran[0].values == {"node.data_dir": "/x", "logging.level": "debug"}


@pytest.mark.parametrize(
    ("argv", "display", "headless"),
    [([], True, False), (["run"], True, False), (["run", "--headless"], True, True), ([], False, True)],
)
def test_windows_open_where_there_is_a_display(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], display: bool, headless: bool
) -> None:
    host = FixedHost(data=tmp_path, display=display)
    assert run(argv, host=host) == 0
    assert host.ran is not None
    assert host.ran[1] is headless
    assert ("no display" in capsys.readouterr().err) is not display


def test_config_prints_value_and_source(idle_host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config"], host=idle_host) == 0
    assert capsys.readouterr().out == "node.listen_port  8800  default\n"
    assert run(["config", "--json"], host=idle_host) == 0
    assert json.loads(capsys.readouterr().out) == {
        "config_file": None,
        "options": {"node.listen_port": {"value": "8800", "source": "default", "description": "Port."}},
    }


def test_key_prints_only_the_key(idle_host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key"], host=idle_host) == 0
    assert capsys.readouterr().out == "k" * 64 + "\n"


def test_commands_without_a_node_load_neither_the_client_nor_the_core() -> None:
    program = (
        "import sys; from app.launch.host import run_command; run_command(['version']); "
        "heavy = {'aiohttp', 'msgspec', 'cryptography', 'keyring', 'PySide6', 'sqlite3', 'app.core.node'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
