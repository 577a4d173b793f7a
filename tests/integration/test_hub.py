"""A real node finds a model on a hub, downloads it through kill -9, and serves it."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from app.client.client import Client
from app.client.hub import Download
from tests.support.hub_server import HubServer, Repo
from tests.support.node_process import RunningNode, running_node

REPO = "owner/guide-gguf"
FILE = "guide.Q8_0.gguf"


async def until(client: Client, state: str) -> Download:
    while True:
        (download,) = await client.hub.downloads()
        assert download.state in {"queued", "running", state}, download.problem
        if download.state == state and not download.phase:
            return download
        await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_node_downloads_through_a_crash_and_answers(guide_model: Path, tmp_path: Path) -> None:
    content = await asyncio.to_thread(guide_model.read_bytes)
    async with HubServer({REPO: Repo(files={FILE: content})}) as server:
        environment = {"HF_ENDPOINT": server.url}

        async def with_node(work: Any) -> None:
            context = running_node(tmp_path, **environment)
            node: RunningNode = await asyncio.to_thread(context.__enter__)
            try:
                async with Client(node.url, node.token) as client:
                    await work(node, client)
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)

        async def begin(node: RunningNode, client: Client) -> None:
            (found,) = await client.hub.search("guide")
            probe = await client.hub.probe(REPO, found.recommended_filename)
            assert probe.memory.fits
            server.pace = 1_000_000
            await client.hub.download(REPO, FILE, shards=None)
            while server.body_bytes < 3_000_000:  # noqa: ASYNC110 - the server is the test's own
                await asyncio.sleep(0.01)
            os.kill(node.process.pid, signal.SIGKILL)
            await asyncio.to_thread(node.process.wait)

        async def end(_node: RunningNode, client: Client) -> None:
            server.pace = 0
            done = await until(client, "done")
            model = done.model_id
            answer = [
                delta async for delta in client.chat([{"role": "user", "content": "Hello"}], model=model)
            ]
            assert len(answer) > 2

        await with_node(begin)
        await with_node(end)
