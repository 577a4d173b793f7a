"""Models of a Hugging Face hub, as the node finds, probes and downloads them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

HUB: Final = "/api/admin/hf"
DOWNLOADS: Final = "/api/admin/downloads"


class HubVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one quantization, of `files` files."""

    filename: str
    size_bytes: int
    quant: str = ""
    files: int = 1


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """A repository with its variants. `fits_memory` is about the recommended one."""

    repo_id: str
    variants: tuple[HubVariant, ...] = ()
    revision: str = ""
    downloads: int = 0
    likes: int = 0
    gated: bool = False
    license: str = ""
    updated: str = ""
    recommended_variant: str = ""
    recommended_filename: str = ""
    fits_memory: bool = False


class HubShard(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    kind: str
    size_bytes: int
    first_layer: int = 0
    last_layer: int = 0


class MemoryTerm(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int
    arithmetic: str = ""


class HubMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What running takes at `context` tokens; `verdict` is a sentence."""

    context: int
    total_bytes: int
    fits: bool
    verdict: str
    terms: tuple[MemoryTerm, ...] = ()


class HubProbe(msgspec.Struct, frozen=True, kw_only=True):
    """A remote model, from its header."""

    repo_id: str
    filename: str
    name: str
    architecture: str
    quantization: str
    size_bytes: int
    memory: HubMemory
    revision: str = ""
    license: str = ""
    n_params: int = 0
    n_layers: int = 0
    context_length: int = 0
    whole_only: str = ""
    shards: tuple[HubShard, ...] = ()


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is "queued", "running", "paused", "done", "failed" or "cancelled"."""

    id: str
    name: str
    state: str
    repo_id: str = ""
    filename: str = ""
    revision: str = ""
    phase: str = ""
    problem: str = ""
    model_id: str = ""
    total_bytes: int = 0
    done_bytes: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None

    @property
    def going_on(self) -> bool:
        return self.state in {"queued", "running"}


class _Downloads(msgspec.Struct):
    downloads: tuple[Download, ...]


class _Done(msgspec.Struct):
    status: str


class Hub:
    """`call` sends a request and returns the answer as the given type; failures are ClientErrors."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call

    async def search(self, query: str, *, limit: int = 20, trending: bool = False) -> tuple[HubModel, ...]:
        asked = {"query": query, "limit": str(limit), "trending": "true" if trending else "false"}
        found: tuple[HubModel, ...] = await self._call(
            "GET", f"{HUB}/search?{urlencode(asked)}", tuple[HubModel, ...]
        )
        return found

    async def repository(self, repo_id: str) -> HubModel:
        """One repository and its variants."""
        path = f"{HUB}/search?{urlencode({'repo_id': repo_id})}"
        found: tuple[HubModel] = await self._call("GET", path, tuple[HubModel])
        return found[0]

    async def probe(self, repo_id: str, filename: str, *, revision: str = "main") -> HubProbe:
        asked = urlencode({"repo_id": repo_id, "filename": filename, "revision": revision})
        found: HubProbe = await self._call("GET", f"{HUB}/probe?{asked}", HubProbe)
        return found

    async def download(
        self,
        repo_id: str,
        filename: str,
        *,
        revision: str = "main",
        shards: Sequence[int] | None = None,
        fair_share: bool = False,
    ) -> Download:
        """Queues a download. With `shards` or `fair_share`, of a part of the model only."""
        body: dict[str, Any] = {"repo_id": repo_id, "filename": filename, "revision": revision}
        if shards is not None:
            body["shards"] = list(shards)
        if fair_share:
            body["peer_fair_share"] = True
        return await self._download(f"{HUB}/download-shards", body)

    async def downloads(self) -> tuple[Download, ...]:
        """The queue, and what has ended."""
        answer: _Downloads = await self._call("GET", DOWNLOADS, _Downloads)
        return answer.downloads

    async def pause(self, download: str) -> Download:
        return await self._download(f"{DOWNLOADS}/{quote(download, safe='')}/pause")

    async def resume(self, download: str) -> Download:
        return await self._download(f"{DOWNLOADS}/{quote(download, safe='')}/resume")

    async def cancel(self, download: str) -> Download:
        return await self._download(f"{DOWNLOADS}/{quote(download, safe='')}/cancel")

    async def keep_token(self, token: str | None) -> None:
        """Gives the node the user's access token, or has it forget the one it keeps."""
        await self._call("PUT", f"{HUB}/token", _Done, {"token": token})

    async def _download(self, path: str, body: Mapping[str, Any] | None = None) -> Download:
        answer: Download = await self._call("POST", path, Download, body)
        return answer
