"""The local HTTP server: puts the parts of the API together, listens, and stops."""

import errno
import logging
import socket
import time
from asyncio import Server, get_running_loop
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from app.core.api.admin.hub import AdminHub
from app.core.api.admin.models import AdminModels
from app.core.api.admin.node import AdminNode
from app.core.api.admin.peers import AdminPeers
from app.core.api.admin.plan import AdminPlan, Previewing
from app.core.api.admin.shards import AdminShards
from app.core.api.body import MAX_BODY
from app.core.api.connections import KEEPALIVE_SECONDS, Connections, connection_bound
from app.core.api.health import Health
from app.core.api.metrics import Metrics
from app.core.api.openai.chat import ChatCompletions
from app.core.api.openai.completions import Completions
from app.core.api.openai.embeddings import Embeddings
from app.core.api.openai.errors import error_body
from app.core.api.openai.models import Models
from app.core.api.ports import Engine, Library, Router, Settings
from app.core.api.quiet import protocol_logger
from app.core.api.security.guard import Guard
from app.core.api.security.keys import Keys
from app.core.api.security.origins import Origins
from app.core.api.security.ratelimit import RateLimiter
from app.core.api.status import NodeStatus
from app.core.api.tally import Tally
from app.core.kernel.errors import ConfigError, NetworkError
from app.core.kernel.events import EventBus

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
BACKLOG: Final = 128
SHUTDOWN_SECONDS: Final = 2.0


class ApiServer:
    """`async with` listens on 127.0.0.1 at `settings.node.listen_port` (0: any free port).

    `status` tells how the node is, `hub`, `peers` and `shards` are the endpoints of the hub, the network and
    the store of models, `preview` tells where a model would run, `config` gives the effective options (rows
    of any plain type); `shutdown` starts the node's end and returns at once. Without these six their
    endpoints do not exist. `clock` is monotonic, in seconds, `wall_clock` Unix time. `connections` bounds the
    open connections. Web pages of `allowed_origins` (e.g. "app://obsidian.md") may call the API, with its
    key. Entering raises ConfigError where the port is taken.
    """

    def __init__(
        self,
        *,
        router: Router,
        library: Library,
        engine: Engine,
        settings: Settings,
        api_key: str,
        session_token: str,
        bus: EventBus,
        status: Callable[[], NodeStatus],
        hub: AdminHub | None = None,
        peers: AdminPeers | None = None,
        shards: AdminShards | None = None,
        preview: Previewing | None = None,
        config: Callable[[], Iterable[Any]] | None = None,
        shutdown: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        connections: int | None = None,
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._port = settings.node.listen_port
        self._bound = connections
        self._keys = Keys(api_key=api_key, session_token=session_token)
        self._guard = Guard(
            keys=self._keys,
            origins=Origins(allowed=allowed_origins),
            limiter=RateLimiter(per_minute=settings.api.rate_limit_rpm, clock=clock),
            admin_limiter=RateLimiter(per_minute=settings.api.rate_limit_admin_rpm, clock=clock),
            error_body=lambda _path, problem: error_body(problem),
            clock=clock,
        )
        self._metrics = Metrics(bus=bus, library=library, peers=lambda: status().peers)
        self._tally = Tally(bus=bus)
        self._routes = [
            *self._metrics.routes(),
            *Health(status=status, router=router, library=library, engine=engine).routes(),
            *Models(library=library).routes(),
            *ChatCompletions(router=router, wall_clock=wall_clock).routes(),
            *Completions(router=router, wall_clock=wall_clock).routes(),
            *Embeddings(router=router).routes(),
            *(shards.routes() if shards else ()),
            *AdminModels(library=library, engine=engine).routes(),
            *AdminNode(
                status=status,
                engine=engine,
                tally=self._tally,
                keys=self._keys,
                config=config,
                shutdown=shutdown,
            ).routes(),
            *(hub.routes() if hub else ()),
            *(peers.routes() if peers else ()),
            *(AdminPlan(preview=preview).routes() if preview else ()),
        ]
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self._server: Server | None = None
        self._url = ""
        self._subscriptions: list[Callable[[], None]] = []

    @property
    def url(self) -> str:
        """E.g. "http://127.0.0.1:8800"."""
        return self._url

    async def __aenter__(self) -> Self:
        listener = _listen(self._port)
        runner = web.AppRunner(
            self._application(),
            handler_cancellation=True,
            access_log=None,
            logger=protocol_logger(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        assert runner.server is not None
        bound = connection_bound() if self._bound is None else self._bound
        self._connections = Connections(server=runner.server, bound=bound)
        self._runner = runner
        self._server = await get_running_loop().create_server(
            self._connections, sock=listener, backlog=BACKLOG
        )
        self._url = f"http://{HOST}:{listener.getsockname()[1]}"
        self._subscriptions = [self._metrics.subscribe(), self._tally.subscribe()]
        log.info("API at %s/v1", self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        if self._server is not None:
            self._server.close()
        self._guard.cancel_running()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            connections = self._connections
            assert connections is not None
            connections.begin(request)
            try:
                return await self._guard.run(request, handler)
            finally:
                connections.end(request)

        app = web.Application(middlewares=[door], client_max_size=MAX_BODY)
        app.add_routes(self._routes)
        app.on_response_prepare.append(self._guard.add_headers)
        return app


def _listen(port: int) -> socket.socket:
    """A bound socket. Raises ConfigError where somebody else has the port, NetworkError otherwise."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        _keep_to_ourselves(listener)
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError(
                f"Port {port} of {HOST} is used by another program or not permitted. "
                "Is a node running already? Choose another port with --port.",
                param="node.listen_port",
            ) from None
        raise NetworkError(f"The API cannot listen on {HOST}:{port}: {error.strerror}.") from error
    return listener


def _keep_to_ourselves(listener: socket.socket) -> None:
    """A restart gets the port back at once; on Windows SO_REUSEADDR would let others steal it."""
    exclusive: Any = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    option = socket.SO_REUSEADDR if exclusive is None else exclusive
    listener.setsockopt(socket.SOL_SOCKET, option, 1)
