"""Commands about other nodes, on a node whose network is off; tests/integration/test_network.py has it on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.commands.network import _drawn
from app.cli.main import run
from app.core.api.admin.peers import AdminPeers
from app.core.swarm.peers import OFF
from tests.support.api_server import Node
from tests.support.cli_node import FixedHost, served
from tests.support.swarm_peers import Told, unstarted


@pytest.fixture
def node() -> Iterator[Node]:
    with served(Node(), peers=AdminPeers(peers=unstarted(Told()))) as running:
        yield running


@pytest.mark.parametrize("argv", [["peers"], ["peers", "--json"], ["invite", "--qr"], ["join", "swarm://x"]])
def test_a_network_that_is_off_is_one_line_that_says_how_to_turn_it_on(
    host: FixedHost, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv, host=host) == 1
    assert capsys.readouterr().err == f"swarmllm: {OFF}\n"


def test_status_tells_that_the_network_is_off(host: FixedHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status"], host=host) == 0
    assert "Peers     the network is off" in capsys.readouterr().out


def test_no_node_is_said_first(idle_host: FixedHost, tmp_path: Path) -> None:
    assert run(["peers"], host=idle_host) == 3


def test_a_code_is_drawn_with_blocks() -> None:
    lines = _drawn("swarm://" + "x" * 200).splitlines()
    assert len(lines) > 20
    assert "█" in "".join(lines) or "▀" in "".join(lines)
