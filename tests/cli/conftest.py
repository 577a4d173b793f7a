"""A scripted node and the Host that leads to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import Node
from tests.support.cli_node import FixedHost, served


@pytest.fixture
def node() -> Iterator[Node]:
    with served(Node()) as running:
        yield running


@pytest.fixture
def host(node: Node, tmp_path: Path) -> FixedHost:
    return FixedHost(data=tmp_path, url=node.url)


@pytest.fixture
def idle_host(tmp_path: Path) -> FixedHost:
    """No node runs."""
    return FixedHost(data=tmp_path)
