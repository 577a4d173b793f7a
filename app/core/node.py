"""The composition root: makes every part, hands collaborators over, starts them in order, stops them in
reverse. Nothing else in the program knows how the parts are put together."""

import asyncio
import logging
import os
import secrets as randomness
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from app import __version__
from app.core.api.admin.hub import AdminHub
from app.core.api.admin.peers import AdminPeers
from app.core.api.admin.shards import AdminShards
from app.core.api.server import ApiServer
from app.core.api.status import NETWORK, NodeStatus
from app.core.config.load import LoadedSettings
from app.core.engine.engine import Engine
from app.core.engine.limits import EngineLimits, usable_memory
from app.core.engine.machine import Machine
from app.core.identity.keys import NodeKey, load_api_key, load_node_key
from app.core.identity.opening import open_secrets
from app.core.identity.secrets import Secrets
from app.core.kernel.errors import SwarmError
from app.core.kernel.events import EventBus, Notice
from app.core.kernel.units import MIB
from app.core.models.hub.hub import Hub, HubOptions, endpoint_of
from app.core.models.hub.probe import Running
from app.core.models.hub.token import HubToken
from app.core.models.library import Library
from app.core.storage.data_dir import DataDir
from app.core.storage.database import Database
from app.core.storage.files import write_private
from app.core.swarm.peers import Peers, network_options
from app.core.swarm.preview import Previews, Room
from app.core.swarm.router import Router, RouterLimits

log = logging.getLogger(__name__)

MAX_WARNINGS: Final = 20


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What a running node writes down for the commands and windows of the same user."""

    pid: int
    url: str
    token: str
    version: str


class Node:
    """`async with Node(...) as node: await node.run()`.

    `builtin_model` is the GGUF file of the built-in model; `worker_command` starts a worker process when
    the arguments that hand over its socket are added. Entering raises SwarmError with a sentence.
    """

    def __init__(
        self,
        *,
        settings: LoadedSettings,
        environ: Mapping[str, str],
        builtin_model: Path,
        worker_command: Sequence[str],
    ) -> None:
        self._loaded = settings
        self._environ = environ
        self._builtin_model = builtin_model
        self._worker_command = tuple(worker_command)
        self._parts = AsyncExitStack()
        self._stop = asyncio.Event()
        self._warnings: list[str] = []
        self._subsystems: dict[str, bool] = {}
        self._started = 0.0
        self.session_token = randomness.token_hex(32)
        self._default_model = ""
        self.url = ""
        self.secrets_backend = ""
        self.bus = EventBus(on_error=lambda error: log.error("A listener failed.", exc_info=error))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that the user should read."""
        return tuple(self._warnings)

    async def __aenter__(self) -> Self:
        self._started = time.time()
        async with AsyncExitStack() as parts:
            await self._start(parts)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._parts.aclose()

    async def run(self) -> None:
        """Returns when the node is asked to stop."""
        await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    async def _start(self, parts: AsyncExitStack) -> None:
        settings = self._loaded.settings
        parts.callback(self.bus.subscribe(Notice, self._hear))
        data = parts.enter_context(DataDir(settings.node.data_dir))
        database = await parts.enter_async_context(Database(data.database, on_rebuilt=self._database_rebuilt))
        self._subsystems["storage"] = True
        secrets = await self._secrets(data.path)
        key, api_key = await self._identity(secrets)
        library = await parts.enter_async_context(self._library(data))
        await self._add_models(library)
        self._subsystems["models"] = True
        engine = await parts.enter_async_context(self._engine())
        self._subsystems["engine"] = True
        token = HubToken(secrets=secrets, environ=self._environ)

        def room() -> Room:
            return self._room(engine)

        hub = await parts.enter_async_context(self._hub(data, library, room, key, token))
        router = self._router(engine, library)
        self._subsystems["inference_router"] = True
        peers = self._peers(key, database)
        parts.push_async_callback(peers.stop)
        api = ApiServer(
            router=router,
            library=library,
            engine=engine,
            settings=settings,
            api_key=api_key,
            session_token=self.session_token,
            bus=self.bus,
            status=lambda: self._status(key, peers),
            hub=AdminHub(hub=hub, token=token),
            peers=AdminPeers(peers=peers),
            shards=AdminShards(
                library=library,
                engine=engine,
                downloads=hub.downloads.all,
                home=Path.home(),
                environ=self._environ,
            ),
            preview=Previews(view=router.view, library=library, loaded=engine.loaded, room=room).of,
            config=self._loaded.rows,
            shutdown=self.stop,
        )
        await parts.enter_async_context(api)
        self.url = api.url
        self._subsystems["api_server"] = True
        parts.callback(_forget_runtime, data.runtime)
        self._write_runtime(data.runtime)
        peers.start()

    async def _secrets(self, data_dir: Path) -> Secrets:
        secrets = await open_secrets(data_dir, self._environ)
        if secrets.warning:
            self._warn(secrets.warning)
        self.secrets_backend = secrets.backend
        return secrets

    async def _identity(self, secrets: Secrets) -> tuple[NodeKey, str]:
        key = await load_node_key(secrets)
        configured = self._loaded.settings.api.api_key
        return key, configured or await load_api_key(secrets)

    def _library(self, data: DataDir) -> Library:
        settings = self._loaded.settings
        return Library(
            root=data.models,
            bus=self.bus,
            shard_size_mb=settings.model.shard_size_mb,
            max_disk_mb=settings.resources.max_disk_mb,
        )

    async def _add_models(self, library: Library) -> None:
        """The built-in model and the one that the settings name. Failing costs that model, not the node."""
        try:
            await library.ensure_builtin(self._builtin_model)
        except SwarmError as error:
            self._warn(f"The built-in model cannot be used: {error}")
        path = self._loaded.settings.inference.model_path
        if path is None:
            return
        try:
            self._default_model = (await library.ensure_file(path)).id
        except SwarmError as error:
            self._warn(f"The model {path} cannot be used: {error}")

    def _room(self, engine: Engine) -> Room:
        """What models may take, those in memory included: they give way to others."""
        taken = sum(model.memory_bytes for model in engine.loaded())
        free = Machine().available_memory(mapped=0) + taken
        memory = usable_memory(self._limits(), available_bytes=free, used_by_workers=0)
        return Room(memory=memory, context=self._loaded.settings.inference.context_tokens, slots=1)

    def _hub(
        self, data: DataDir, library: Library, room: Callable[[], Room], key: NodeKey, token: HubToken
    ) -> Hub:
        settings = self._loaded.settings

        def running() -> Running:
            now = room()
            return Running(memory=now.memory, context=now.context, slots=now.slots)

        options = HubOptions(
            endpoint=endpoint_of(settings.hub.endpoint, self._environ),
            connections=settings.hub.connections,
            at_once=settings.hub.max_concurrent_downloads,
            bytes_per_second=settings.hub.max_download_mbps * 125_000,
            shard_size_mb=settings.model.shard_size_mb,
            watch_trending=settings.hub.watch_trending,
        )
        return Hub(
            root=data.models,
            library=library,
            bus=self.bus,
            options=options,
            token=token.get,
            running=running,
            node_id=key.node_id,
            nodes=lambda: 1,
        )

    def _limits(self) -> EngineLimits:
        inference, resources = self._loaded.settings.inference, self._loaded.settings.resources
        return EngineLimits(
            max_memory=resources.max_ram_mb * MIB,
            context_tokens=inference.context_tokens,
            slots=inference.slots,
            prefill_chunk=inference.prefill_chunk_tokens,
            threads=inference.threads,
            gpu_layers=inference.gpu_layers,
            prefix_cache_bytes=inference.prefix_cache_mb * MIB if inference.prefix_cache_enabled else 0,
            idle_seconds=inference.model_idle_seconds,
        )

    def _engine(self) -> Engine:
        return Engine(
            limits=self._limits(),
            bus=self.bus,
            worker_command=self._worker_command,
            clock=time.monotonic,
        )

    def _router(self, engine: Engine, library: Library) -> Router:
        inference = self._loaded.settings.inference
        return Router(
            engine=engine,
            library=library,
            bus=self.bus,
            limits=RouterLimits(max_concurrent_requests=inference.max_concurrent_requests),
            default_model=self._default_model or inference.default_model,
            clock=time.monotonic,
        )

    def _peers(self, key: NodeKey, database: Database) -> Peers:
        settings = self._loaded.settings
        return Peers(
            options=network_options(settings.network, port=settings.node.listen_port),
            seed=key.seed,
            database=database,
            bus=self.bus,
            software=f"swarmllm/{__version__}",
            changed=lambda up: self._subsystems.update({NETWORK: up}),
            warn=self._warn,
        )

    def _status(self, key: NodeKey, peers: Peers) -> NodeStatus:
        now = time.time()
        return NodeStatus(
            version=__version__,
            node_id=key.node_id,
            started=self._started,
            uptime_seconds=max(0.0, now - self._started),
            subsystems=dict(self._subsystems),
            warnings=self.warnings,
            secrets_backend=self.secrets_backend,
            peers=peers.connected,
        )

    def _database_rebuilt(self, moved_to: Path) -> None:
        self._warn(
            f"The database was damaged and has been made anew; the damaged one is kept as {moved_to.name}. "
            "Models and keys are untouched."
        )

    def _warn(self, sentence: str) -> None:
        self.bus.publish(Notice(level="warning", message=sentence))

    def _hear(self, notice: Notice) -> None:
        """Notices of all parts stand in the log, and warnings in the status as well, each once."""
        log.log(logging.INFO if notice.level == "info" else logging.WARNING, "%s", notice.message)
        if notice.level != "info" and notice.message not in self._warnings:
            self._warnings.append(notice.message)
            del self._warnings[:-MAX_WARNINGS]

    def _write_runtime(self, path: Path) -> None:
        runtime = Runtime(pid=os.getpid(), url=self.url, token=self.session_token, version=__version__)
        write_private(path, msgspec.json.encode(runtime))


def _forget_runtime(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
