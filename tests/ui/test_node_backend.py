"""The node's API in the windows' words."""

import pytest

from app.client import Client
from app.ui.backend import BackendError, Done, ModelChoice, ReasoningPart, Said, TextPart
from app.ui.node_backend import NodeBackend
from tests.support.ui_server import TOKEN, ApiScript, ScriptedApi


async def test_models_get_a_name_a_description_and_the_guide_its_label() -> None:
    models = [
        {"id": "swarmllm-guide", "name": "SwarmLLM Guide (demonstration)"},
        {"id": "q", "architecture": "qwen2", "quantization": "Q4_K_M", "size_bytes": 4_700_000_000},
    ]
    async with ScriptedApi(ApiScript(models=models)) as api, Client(api.url, TOKEN) as client:
        guide, other = await NodeBackend(client).models()
    assert guide.demonstration
    assert other == ModelChoice(id="q", name="q", detail=other.detail)
    assert other.detail.startswith("qwen2, Q4_K_M, 4")


async def test_an_answer_comes_in_parts_and_ends_with_its_figures() -> None:
    script = ApiScript(reasoning=["Hm."], pieces=["a", "b"], finish="length")
    async with ScriptedApi(script) as api, Client(api.url, TOKEN) as client:
        said = [Said(role="user", content="?")]
        answer = NodeBackend(client).answer(model="m", said=said, session="s")
        parts = [part async for part in answer]
    assert parts == [
        ReasoningPart(text="Hm."),
        TextPart(text="a"),
        TextPart(text="b"),
        Done(tokens=3, seconds=0.12, finish="length"),
    ]


async def test_a_node_that_is_gone_is_a_sentence() -> None:
    async with ScriptedApi(ApiScript()) as api:
        url = api.url
    async with Client(url, TOKEN) as client:
        with pytest.raises(BackendError, match="No node is running at"):
            await NodeBackend(client).state()


async def test_the_temperature_is_left_to_the_model() -> None:
    async with ScriptedApi(ApiScript()) as api, Client(api.url, TOKEN) as client:
        async for _ in NodeBackend(client).answer(
            model="other", said=[Said(role="user", content="?")], session="s"
        ):
            pass
    (seen,) = api.script.seen
    assert "temperature" not in seen
