"""A real API server on a free port, over the doubles of `api_router`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from app.core.api.server import ApiServer
from app.core.api.status import NodeStatus
from app.core.kernel.events import EventBus
from app.core.swarm.preview import Preview
from tests.support.api_router import IdleEngine, ListedLibrary, ScriptedRouter

API_KEY = "k" * 64
SESSION_TOKEN = "s" * 64


def raise_it(error: Exception) -> None:
    raise error


@dataclass
class Node:
    """What a test can turn and look at."""

    router: ScriptedRouter = field(default_factory=ScriptedRouter)
    library: ListedLibrary = field(default_factory=ListedLibrary)
    engine: IdleEngine = field(default_factory=IdleEngine)
    bus: EventBus = field(default_factory=lambda: EventBus(raise_it))
    subsystems: dict[str, bool] = field(default_factory=lambda: {"storage": True, "engine": True})
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    preview: Callable[[str], Preview] | None = None
    url: str = ""

    def status(self) -> NodeStatus:
        return NodeStatus(
            version="0.1.0",
            node_id="ab" * 32,
            started=1_790_000_000.0,
            uptime_seconds=12.5,
            subsystems=self.subsystems,
            warnings=("Secrets lie in plain files.",),
            secrets_backend="file",
        )

    @property
    def v1(self) -> str:
        return f"{self.url}/v1"


@asynccontextmanager
async def serving(
    node: Node | None = None, *, rpm: int = 0, admin_rpm: int = 0, port: int = 0, **options: Any
) -> AsyncIterator[Node]:
    node = node or Node()
    settings = SimpleNamespace(
        node=SimpleNamespace(listen_port=port),
        api=SimpleNamespace(rate_limit_rpm=rpm, rate_limit_admin_rpm=admin_rpm),
    )
    async with ApiServer(
        router=node.router,
        library=node.library,
        engine=node.engine,
        settings=settings,
        api_key=API_KEY,
        session_token=SESSION_TOKEN,
        bus=node.bus,
        status=node.status,
        config=lambda: [{"key": "node.listen_port", "value": str(port), "source": "default"}],
        shutdown=node.stopping.set,
        preview=node.preview,
        **options,
    ) as server:
        node.url = server.url
        yield node
