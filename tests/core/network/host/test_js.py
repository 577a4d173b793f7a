"""js-libp2p from npm meets a node. Needs Node 20 with npm, and the registry the first time."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from app.core.network.host.reports import Gossiped
from app.core.network.keys import NodeKeys
from app.core.network.records import make_record
from tests.support.network_hosts import TOPIC, Peer, Peers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("npm") is None or shutil.which("node") is None, reason="needs Node and npm"
    ),
]
SOURCES = Path(__file__).parents[3] / "support" / "network_js"


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside its installed packages."""
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "visitor.mjs"):
        shutil.copy(SOURCES / name, folder)
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode:
        pytest.skip(f"npm could not install js-libp2p: {done.stderr[-200:]}")
    return folder / "visitor.mjs"


async def test_a_js_peer_connects_identifies_pings_gossips_and_reads_a_record(visitor: Path) -> None:
    async with Peers(Peer(), Peer()) as (node, other):
        await other.dial(node)
        assert await other.host.met(node.keys.peer_id)
        assert await node.host.met(other.keys.peer_id)
        value = make_record(NodeKeys(os.urandom(32)), "/swarmllm/greeting", b"hello", time.time())
        await other.host.put("greeting", value)
        process = await asyncio.create_subprocess_exec(
            "node",
            str(visitor),
            node.host.listening[0],
            TOPIC,
            "/swarmllm/greeting",
            stdout=asyncio.subprocess.PIPE,
        )
        said: dict[str, Any] = {}
        try:
            async with asyncio.timeout(90):
                assert process.stdout is not None
                while line := await process.stdout.readline():
                    said |= json.loads(line)
                    if "published" in said and "heard" not in said:
                        heard = await node.first(Gossiped, lambda report: report.body == b"from js")
                        assert heard.topic == TOPIC
                        await node.host.publish(TOPIC, b"from a node")
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert said["connected"] == node.keys.peer_id
        assert said["ping"] >= 0
        assert {"/swarmllm/1.0.0", "/ipfs/id/1.0.0", "/ipfs/kad/1.0.0"} <= set(said["protocols"])
        assert said["heard"] == "from a node"
        assert said["record"] == value.hex()
