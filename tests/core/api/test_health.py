"""Status, readiness, models and metrics."""

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest

from app.core.kernel.errors import ConfigError
from app.core.kernel.events import RequestFinished
from tests.support.api_router import Entry
from tests.support.api_server import API_KEY, Node, serving


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with serving() as node:
        yield node


@pytest.fixture
async def http(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(node.url) as session:
        yield session


async def test_health_needs_no_key_and_tells_nothing_more(http: aiohttp.ClientSession) -> None:
    async with http.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_ready_names_each_part_and_waits_for_all(node: Node, http: aiohttp.ClientSession) -> None:
    node.subsystems["engine"] = False
    async with http.get("/health/ready") as response:
        assert response.status == 503
        assert await response.json() == {"ready": False, "subsystems": {"storage": True, "engine": False}}
    node.subsystems["engine"] = True
    async with http.get("/health/ready") as response:
        assert (response.status, (await response.json())["ready"]) == (200, True)


async def test_a_node_without_its_network_is_ready_nevertheless(
    node: Node, http: aiohttp.ClientSession
) -> None:
    node.subsystems["network"] = False
    async with http.get("/health/ready") as response:
        answer = await response.json()
    assert (response.status, answer["ready"], answer["subsystems"]["network"]) == (200, True, False)


async def test_metrics_count_finished_requests(node: Node, http: aiohttp.ClientSession) -> None:
    node.bus.publish(
        RequestFinished(model="guide", seconds=0.3, prompt_tokens=5, completion_tokens=7, outcome="ok")
    )
    async with http.get("/metrics") as response:
        text = await response.text()
    assert "swarmllm_inference_requests_total 1.0" in text
    assert "swarmllm_shards_hosted 1.0" in text
    assert "swarmllm_peers_connected 0.0" in text
    assert 'swarmllm_inference_latency_seconds_bucket{le="0.25"} 0.0' in text
    assert 'swarmllm_inference_latency_seconds_bucket{le="0.5"} 1.0' in text


async def test_the_openai_package_lists_models(node: Node) -> None:
    node.library.entries["half"] = Entry(id="half", complete=False)
    async with openai.AsyncOpenAI(base_url=node.v1, api_key=API_KEY, max_retries=0) as client:
        models = [model async for model in client.models.list()]
        assert [(model.id, model.object, model.owned_by) for model in models] == [
            ("guide", "model", "swarmllm")
        ]
        assert (await client.models.retrieve("guide")).id == "guide"
        for missing in ("half", "org/none"):
            with pytest.raises(openai.NotFoundError) as caught:
                await client.models.retrieve(missing)
            assert caught.value.code == "model_not_found"


async def test_a_port_in_use_is_one_clear_sentence(node: Node) -> None:
    port = int(node.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 is used"):
        async with serving(port=port):
            pass


async def test_a_restart_gets_the_same_port_at_once() -> None:
    async with serving() as node, aiohttp.ClientSession() as session, session.get(f"{node.url}/health"):
        port = int(node.url.rpartition(":")[2])
    async with serving(port=port) as again:
        assert again.url == node.url
