"""Nodes as processes on loopback: one joins another by its invite, and both list each other."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_process import RunningNode, running_node

HERE = {
    "SWARMLLM_NETWORK_ENABLED": "true",
    "SWARMLLM_NETWORK_LISTEN_ADDRESS": "127.0.0.1",
    "SWARMLLM_NETWORK_ENABLE_MDNS": "false",
}


def swarmllm(node: RunningNode, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command as a user would give it."""
    command = [sys.executable, "-m", "app", *arguments, "-d", str(node.data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def answer(node: RunningNode, *arguments: str) -> Any:
    done = swarmllm(node, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def peers_of(node: RunningNode) -> list[str]:
    status, found = node.request("GET", "/api/admin/peers")
    assert status == 200
    return [peer["peer_id"] for peer in found["peers"]]


def until_listed(node: RunningNode, peer_id: str, *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while peer_id not in peers_of(node):
        assert time.monotonic() < deadline, node.log_text()
        time.sleep(0.1)


@pytest.mark.slow
def test_a_node_joins_another_by_its_invite_and_both_list_each_other(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    with running_node(folders[0], **HERE) as first, running_node(folders[1], **HERE) as second:
        invite = swarmllm(first, "invite").stdout.strip()
        joined = answer(second, "join", invite)
        home, guest = answer(first, "peers"), answer(second, "peers")
        assert joined["peer_id"] == home["peer_id"]
        assert [peer["peer_id"] for peer in home["peers"]] == [guest["peer_id"]]
        assert [peer["peer_id"] for peer in guest["peers"]] == [home["peer_id"]]
        assert guest["peers"][0]["encrypted"]
        assert "Peers     1" in swarmllm(first, "status").stdout
        assert b"swarmllm_peers_connected 1.0" in first.request("GET", "/metrics")[1]
        with running_node(folders[2], "--bootstrap", invite, **_but_enabled(HERE)) as third:
            until_listed(third, home["peer_id"])
            until_listed(first, answer(third, "peers")["peer_id"])
        assert invite.removeprefix("swarm://") not in first.log_text() + second.log_text() + third.log_text()


def _but_enabled(environment: dict[str, str]) -> dict[str, str]:
    """Naming a node to meet turns the network on."""
    return {name: value for name, value in environment.items() if not name.endswith("_ENABLED")}


@pytest.mark.slow
def test_a_node_meets_its_peers_again_after_a_restart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with running_node(folders[0], **HERE) as first:
        with running_node(folders[1], **HERE) as second:
            answer(second, "join", swarmllm(first, "invite").stdout.strip())
        with running_node(folders[1], **HERE) as second:
            until_listed(second, answer(first, "peers")["peer_id"])


@pytest.mark.slow
def test_a_node_without_network_says_how_to_turn_it_on(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        for arguments in (("peers",), ("invite",), ("join", "swarm://x")):
            done = swarmllm(node, *arguments)
            assert (done.returncode, done.stdout) == (1, "")
            assert "Start the node with --network" in done.stderr
        assert "Peers     the network is off" in swarmllm(node, "status").stdout
        status = node.request("GET", "/v1/status")[1]
        assert status["peers"] is None
        assert "network" not in status["subsystems"]
