"""The network's endpoints, over real networks on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.core.api.admin.peers import AdminPeers
from tests.support.api_server import API_KEY, serving
from tests.support.swarm_peers import HERE, Told, started


@asynccontextmanager
async def node(folder: Path, **settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        started(folder, Told(), **settings) as peers,
        serving(peers=AdminPeers(peers=peers)) as running,
        aiohttp.ClientSession(running.url, headers={"Authorization": f"Bearer {API_KEY}"}) as session,
    ):
        yield session


async def get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_a_node_joins_another_and_both_list_each_other(tmp_path: Path) -> None:
    async with node(tmp_path, **HERE) as first, node(tmp_path, **HERE) as second:
        async with first.get("/api/admin/network-code") as response:
            assert response.headers["Cache-Control"] == "no-store"
            invite = await response.json()
        assert invite["code"].startswith("swarm://")
        assert invite["qr_svg"].startswith("<svg")
        async with second.post("/api/admin/join-network", json={"code": invite["code"]}) as response:
            joined = await response.json()
        home, guest = await get(first, "/api/admin/peers"), await get(second, "/api/admin/peers")
        assert joined["peer_id"] == joined["peer"]["peer_id"] == home["peer_id"]
        assert home["addresses"][0].startswith(joined["peer"]["address"] + "/p2p/")
        assert [peer["node_id"] for peer in home["peers"]] == [guest["node_id"]]
        (peer,) = guest["peers"]
        assert (peer["node_id"], peer["outbound"], peer["encrypted"]) == (home["node_id"], True, True)
        assert (peer["software"], peer["conduct"]) == ("swarmllm/test", 1.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"code": "swarm://nonsense"}, "The invite code is damaged"),
        ({"code": "/ip4/127.0.0.1/tcp/1"}, "names no peer"),
        ({"code": "hello"}, "neither an invite code nor an address"),
        ({"code": "x" * 4097}, "code"),
        ({}, "code"),
    ],
)
async def test_a_wrong_code_is_refused_with_a_sentence(tmp_path: Path, body: Any, message: str) -> None:
    async with (
        node(tmp_path, **HERE) as session,
        session.post("/api/admin/join-network", json=body) as response,
    ):
        assert response.status == 400
        assert message in (await response.json())["error"]["message"]


async def test_a_network_that_is_off_is_a_conflict_that_says_how_to_turn_it_on(tmp_path: Path) -> None:
    async with node(tmp_path) as session:
        for method, path in (
            ("GET", "peers"),
            ("GET", "network-code"),
            ("POST", "join-network"),
        ):
            async with session.request(method, f"/api/admin/{path}", json={"code": "swarm://x"}) as response:
                error = (await response.json())["error"]
                assert (response.status, error["code"]) == (409, "conflict")
                assert "--network" in error["message"]
