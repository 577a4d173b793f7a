"""The network as a part of the node: off, meeting another one, failing, ending early."""

import asyncio
import socket
from pathlib import Path

import pytest

from app.core.kernel.errors import Conflict
from tests.support.swarm_peers import HERE, Told, started


async def test_a_network_that_is_off_says_how_to_turn_it_on(tmp_path: Path) -> None:
    told = Told()
    async with started(tmp_path, told) as peers:
        with pytest.raises(Conflict, match="Start the node with --network"):
            await peers.network()
        assert peers.connected is None
    assert told.up == []


async def test_two_nodes_meet_by_an_invite(tmp_path: Path) -> None:
    told = Told()
    async with started(tmp_path, told, **HERE) as first, started(tmp_path, Told(), **HERE) as second:
        assert first.connected == 0
        home = await first.network()
        assert await (await second.network()).join(home.invite()) == home.peer_id
        assert second.connected == 1
    assert told.up == [False, True]
    assert told.warnings == []
    with pytest.raises(Conflict, match="has ended"):
        await first.network()


async def test_a_node_meets_the_one_whose_invite_it_was_started_with(tmp_path: Path) -> None:
    async with started(tmp_path, Told(), **HERE) as first:
        code = (await first.network()).invite()
        async with started(tmp_path, Told(), **HERE, bootstrap_peers=(code,)) as second:
            await (await second.network()).introduced((await first.network()).peer_id)
            assert second.connected == 1


async def test_a_taken_port_costs_the_network_and_is_told(tmp_path: Path) -> None:
    told = Told()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] - 10
        async with started(tmp_path, told, port=port, **HERE) as peers:
            with pytest.raises(Conflict, match="The network does not run"):
                await peers.network()
            assert peers.connected == 0
    assert told.up[-1] is False
    (warning,) = told.warnings
    assert warning.startswith("The network does not run. ")


@pytest.mark.parametrize(
    ("port", "address"), [(65530, "127.0.0.1"), (0, "nowhere"), (0, "::"), (0, "203.0.113.7")]
)
async def test_what_it_cannot_listen_on_costs_the_network_and_is_told(
    tmp_path: Path, port: int, address: str
) -> None:
    told = Told()
    settings = HERE | {"listen_address": address, "enable_quic": False}
    async with started(tmp_path, told, port=port, **settings) as peers:
        with pytest.raises(Conflict, match="The network does not run"):
            await peers.network()
    assert len(told.warnings) == 1


async def test_stopping_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    for seconds in (0.0, 0.01, 0.1):
        told = Told()
        async with started(tmp_path, told, **HERE):
            await asyncio.sleep(seconds)
        assert told.warnings == []
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
