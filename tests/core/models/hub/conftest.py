"""A small model, and a server that has it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gguf_models import plain_llama
from tests.support.hub_node import FILE, REPO
from tests.support.hub_server import HubServer, Repo


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("hub") / FILE, layers=4, width=184, vocabulary=96)


@pytest.fixture(scope="session")
def content(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture
async def server(content: bytes) -> AsyncIterator[HubServer]:
    async with HubServer({REPO: Repo(files={FILE: content, "README.md": b"hi"})}) as hub:
        yield hub
