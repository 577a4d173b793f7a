"""Everything that has to do with a Hugging Face hub, behind one door."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from app.core.kernel.errors import InvalidRequest, NotFound, SwarmError
from app.core.kernel.events import EventBus
from app.core.kernel.units import MIB
from app.core.models.hub.client import HubClient
from app.core.models.hub.downloads import Downloads
from app.core.models.hub.failures import Patience
from app.core.models.hub.headers import RemoteSource, read_remote
from app.core.models.hub.job import Means
from app.core.models.hub.layout import PIECE_BYTES
from app.core.models.hub.naming import check_filename
from app.core.models.hub.pace import Bandwidth
from app.core.models.hub.probe import Probe, Running, probe, remote_manifest
from app.core.models.hub.record import Download
from app.core.models.hub.share import fair_share
from app.core.models.hub.trending import Snapshot, Trending
from app.core.models.hub.variants import FoundRepo, Variant, describe_repo, variants_of
from app.core.models.library import Library
from app.core.models.names import model_id

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
MAX_QUERY: Final = 256
MAX_FOUND: Final = 50
LONGEST_ANSWER_WAIT: Final = 15.0
HEADERS_AT_ONCE: Final = 2
_AT_ONCE: Final = 6


class HubOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes_per_second` 0 is no limit. `connections` are per download, of which `at_once` run.

    `watch_trending` has the hub asked every hour what is popular.
    """

    endpoint: str = DEFAULT_ENDPOINT
    connections: int = 4
    at_once: int = 3
    bytes_per_second: float = 0.0
    shard_size_mb: int = 512
    piece_bytes: int = PIECE_BYTES
    watch_trending: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where on the hub a model of the library is from."""

    model_id: str
    repo: str
    revision: str
    filename: str


def endpoint_of(option: str, environ: Mapping[str, str]) -> str:
    """The hub's address: the option, else HF_ENDPOINT, else Hugging Face."""
    return option or environ.get("HF_ENDPOINT", "").strip() or DEFAULT_ENDPOINT


class Hub:
    """`async with` opens it and goes on with downloads. `.downloads` is the queue.

    `root` is the library's folder. `token` gives the user's access token or None, asked at every use.
    `running` tells what models may take here, `nodes` how many nodes would share a model, this one
    included. Methods raise InvalidRequest, NotFound, AccessDenied, BadModelFile or NetworkError.
    """

    def __init__(
        self,
        *,
        root: Path,
        library: Library,
        bus: EventBus,
        options: HubOptions,
        token: Callable[[], Awaitable[str | None]],
        running: Callable[[], Running],
        node_id: str,
        nodes: Callable[[], int],
        patience: Patience | None = None,
        silence: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._library = library
        self._options = options
        self._running = running
        self._node_id = node_id
        self._nodes = nodes
        self._patience = patience or Patience()
        self._client = HubClient(
            endpoint=options.endpoint,
            token=token,
            patience=replace(self._patience, longest=LONGEST_ANSWER_WAIT),
            silence=silence,
        )
        means = Means(
            client=self._client,
            library=library,
            bandwidth=Bandwidth(bytes_per_second=options.bytes_per_second, clock=clock),
            patience=self._patience,
            connections=options.connections,
            piece_bytes=options.piece_bytes,
            clock=clock,
        )
        self.downloads = Downloads(
            root=root, means=means, bus=bus, at_once=options.at_once, clock=clock, wall_clock=wall_clock
        )
        self._trending = Trending(search=partial(self.search, "", trending=True), clock=wall_clock)
        self._reading = asyncio.Semaphore(HEADERS_AT_ONCE)
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self._client)
            await parts.enter_async_context(self.downloads)
            if self._options.watch_trending:
                await parts.enter_async_context(self._trending)
            self._parts = parts.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._parts.aclose()

    def trending(self) -> Snapshot:
        """What was popular when it was last looked at."""
        return self._trending.snapshot

    async def search(self, query: str, *, limit: int = 20, trending: bool = False) -> tuple[FoundRepo, ...]:
        """Repositories with GGUF models that fit `query`, each with its variants.

        A repository that cannot be read is left out.
        """
        if len(query) > MAX_QUERY:
            raise InvalidRequest(f"The query has more than {MAX_QUERY} characters.", param="query")
        sort = "trendingScore" if trending else "downloads"
        names = await self._client.search(query, limit=max(1, min(limit, MAX_FOUND)), sort=sort)
        memory, gate = self._running().memory, asyncio.Semaphore(_AT_ONCE)

        async def look(name: str) -> FoundRepo | None:
            async with gate:
                try:
                    return describe_repo(await self._client.repo(name), memory)
                except SwarmError:
                    return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(look(name), name=f"look at {name}") for name in names]
        found = (task.result() for task in tasks)
        return tuple(repo for repo in found if repo is not None and repo.variants)

    async def look_at(self, repo: str, *, revision: str = "main") -> FoundRepo:
        """One repository and its variants."""
        return describe_repo(await self._client.repo(repo, revision), self._running().memory)

    async def probe(self, repo: str, filename: str, *, revision: str = "main") -> Probe:
        """What a file of a repository would be on this node; only its header is fetched."""
        remote = await self._remote(repo, filename, revision)
        return await asyncio.to_thread(probe, remote, shard_size=self._shard_size, running=self._running())

    async def download(
        self,
        repo: str,
        filename: str,
        *,
        revision: str = "main",
        shards: Collection[int] | None = None,
        fair: bool = False,
    ) -> Download:
        """Queues a model, or the `shards` of it that are named, or with `fair` this node's share of it.

        The metadata shard comes along with any other.
        """
        remote = await self._remote(repo, filename, revision)
        manifest = await asyncio.to_thread(remote_manifest, remote, self._shard_size)
        everything = frozenset(range(len(manifest.shards)))
        wanted = everything if shards is None else frozenset(shards) | {0}
        if fair:
            name = model_id(manifest.name)
            wanted = fair_share(manifest.shards, node_id=self._node_id, model_id=name, nodes=self._nodes())
        if not wanted <= everything:
            raise InvalidRequest(
                f"The model has shards 0 to {max(everything)}; {max(wanted)} is none.", param="shards"
            )
        return await self.downloads.start(remote, manifest, wanted)

    async def source(self, model: str) -> Source:
        """Where a model of the library is from: as it says itself, or as a search finds it by its file."""
        entry = self._library.find(model)
        source = self._library.manifest(entry.id).source
        file = source.files[0]
        if source.repo:
            return Source(model_id=entry.id, repo=source.repo, revision=source.revision, filename=file.name)
        stem = file.name.removesuffix(".gguf")
        for repo in await self.search(stem[:MAX_QUERY], limit=10):
            for variant in repo.variants:
                first = variant.files[0]
                if first.path.rpartition("/")[2] == file.name and first.size == file.size:
                    return Source(
                        model_id=entry.id, repo=repo.repo.id, revision=repo.repo.commit, filename=first.path
                    )
        raise NotFound(f"Nobody knows where on the hub the model {entry.id} is from.", param="id")

    @property
    def _shard_size(self) -> int:
        return self._options.shard_size_mb * MIB

    async def _remote(self, repo: str, filename: str, revision: str) -> RemoteSource:
        variant = await self._variant(repo, filename, revision)
        # A header may take 256 MiB.
        async with self._reading:
            return await read_remote(self._client, variant.files, self._patience)

    async def _variant(self, repo: str, filename: str, revision: str) -> Variant:
        check_filename(filename)
        known = await self._client.repo(repo, revision)
        for variant in variants_of(known.files):
            if any(file.path == filename for file in variant.files):
                return variant
        raise NotFound(f"The repository {repo} has no complete model {filename}.", param="filename")
