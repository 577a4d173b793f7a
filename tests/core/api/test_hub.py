"""The hub's endpoints, on a real node's hub and a server that speaks Hugging Face's routes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.core.api.admin.hub import AdminHub
from app.core.models.hub.token import HubToken
from tests.support.api_server import API_KEY, serving
from tests.support.gguf_models import plain_llama
from tests.support.hub_node import FILE, REPO, Keychain, hub_at
from tests.support.hub_server import TOKEN, Fault, HubServer, Repo

ASKED = {"repo_id": REPO, "filename": FILE}


class Api:
    """Calls the node and returns status and JSON."""

    def __init__(self, session: aiohttp.ClientSession, server: HubServer, keychain: Keychain) -> None:
        self.session = session
        self.server = server
        self.keychain = keychain

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, "/api/admin/" + path, **options) as response:
            return response.status, await response.json()

    async def until(self, download: str, state: str) -> dict[str, Any]:
        while True:
            _, answer = await self("GET", "downloads")
            (found,) = [each for each in answer["downloads"] if each["id"] == download]
            assert found["state"] in {"queued", "running", state}, found["problem"]
            if found["state"] == state:
                return dict(found)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    content = plain_llama(tmp_path / FILE, layers=8, width=64).read_bytes()
    keychain = Keychain()
    token = HubToken(secrets=keychain, environ={})
    async with (
        HubServer({REPO: Repo(files={FILE: content})}) as server,
        hub_at(tmp_path / "models", server.url, token_source=token.get) as (hub, _),
        serving(hub=AdminHub(hub=hub, token=token)) as node,
        aiohttp.ClientSession(node.url, headers={"Authorization": f"Bearer {API_KEY}"}) as session,
    ):
        yield Api(session, server, keychain)


async def test_search_names_what_to_take(api: Api) -> None:
    status, (found,) = await api("GET", "hf/search", params={"query": "tiny"})
    assert (status, found["repo_id"], found["license"]) == (200, REPO, "apache-2.0")
    assert (found["recommended_variant"], found["fits_memory"]) == ("F16", True)
    assert [variant["quant"] for variant in found["variants"]] == ["F16"]
    assert (await api("GET", "hf/search", params={"trending": "true"}))[1] == [found]
    assert (await api("GET", "hf/search", params={"repo_id": REPO}))[1] == [found]
    assert await api("GET", "hf/trending") == (200, {"looked": None, "models": []})
    for params in ({}, {"query": "x", "limit": "many"}, {"query": "x" * 400}):
        status, answer = await api("GET", "hf/search", params=params)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_a_probe_shows_its_arithmetic(api: Api) -> None:
    status, found = await api("GET", "hf/probe", params=ASKED)
    assert (status, found["architecture"], found["n_layers"]) == (200, "llama", 8)
    memory = found["memory"]
    assert memory["total_bytes"] == sum(term["size"] for term in memory["terms"])
    assert memory["fits"] is True
    assert found["shards"][0]["kind"] == "metadata"
    assert (await api("GET", "hf/probe", params={"repo_id": REPO}))[0] == 400
    assert (await api("GET", "hf/probe", params={**ASKED, "filename": "none.gguf"}))[0] == 404
    assert (await api("GET", "hf/probe", params={**ASKED, "repo_id": "../x"}))[0] == 400


async def test_a_download_from_queue_to_source(api: Api) -> None:
    status, started = await api("POST", "hf/download-shards", json=ASKED)
    assert (status, started["source"], started["repo_id"]) == (202, "huggingface", REPO)
    done = await api.until(started["id"], "done")
    assert done["done_bytes"] == done["total_bytes"]
    status, source = await api("GET", f"hf/source/{done['model_id']}")
    assert (status, source["repo_id"], source["filename"]) == (200, REPO, FILE)
    assert (await api("POST", f"downloads/{done['id']}/pause"))[0] == 409
    assert (await api("POST", f"downloads/{done['model_id']}/cancel"))[0] == 200
    assert (await api("GET", "downloads"))[1] == {"downloads": []}
    assert (await api("POST", "downloads/none/cancel"))[0] == 404


async def test_a_download_is_paused_and_resumed(api: Api) -> None:
    _, started = await api("POST", "hf/download-shards", json={**ASKED, "peer_fair_share": True})
    api.server.faults += [Fault(stall=0)] * 4
    status, paused = await api("POST", f"downloads/{started['id']}/pause")
    assert status in {200, 409}
    if status == 200 and paused["state"] == "paused":
        assert (await api("POST", f"downloads/{started['id']}/resume"))[0] == 200
    api.server.release()
    await api.until(started["id"], "done")


async def test_bodies_are_checked(api: Api) -> None:
    for wrong in (
        {"repo_id": REPO},
        {**ASKED, "shards": []},
        {**ASKED, "shards": [-1]},
        {**ASKED, "shards": ["1"]},
        {**ASKED, "shards": [1], "peer_fair_share": True},
        {**ASKED, "shards": [500]},
        {**ASKED, "revision": "../x"},
    ):
        assert (await api("POST", "hf/download-shards", json=wrong))[0] == 400, wrong


async def test_the_token_opens_gated_repositories(api: Api) -> None:
    api.server.repos[REPO].gated = True
    status, answer = await api("GET", "hf/probe", params=ASKED)
    assert (status, answer["error"]["code"]) == (403, "access_denied")
    assert (await api("PUT", "hf/token", json={"token": "has spaces in it"}))[0] == 400
    assert await api("PUT", "hf/token", json={"token": TOKEN}) == (200, {"status": "kept"})
    assert (await api("GET", "hf/probe", params=ASKED))[0] == 200
    assert await api("PUT", "hf/token", json={"token": None}) == (200, {"status": "forgotten"})
    assert api.keychain.kept == {}


async def test_the_environments_token_comes_first() -> None:
    keychain = Keychain()
    await keychain.set("hf_token", "hf_fromthekeychain")
    assert await HubToken(secrets=keychain, environ={}).get() == "hf_fromthekeychain"
    assert await HubToken(secrets=keychain, environ={"HF_TOKEN": TOKEN}).get() == TOKEN
