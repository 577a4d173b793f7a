"""/api/admin/hf and /api/admin/downloads: models of a Hugging Face hub, and what is being fetched."""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from app.core.api.answers import json_response
from app.core.api.body import read_json
from app.core.kernel.errors import InvalidRequest
from app.core.models.hub.hub import Hub
from app.core.models.hub.probe import Probe
from app.core.models.hub.record import Download
from app.core.models.hub.token import HubToken
from app.core.models.hub.variants import FoundRepo

LIMIT = 20

Name = Annotated[str, Field(min_length=1, max_length=512)]


class DownloadBody(BaseModel):
    """Without `shards` and `peer_fair_share`: the whole model."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    repo_id: Name
    filename: Name
    revision: Name = "main"
    shards: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=16_384)] | None = None
    peer_fair_share: bool = False


class TokenBody(BaseModel):
    """`token` null forgets the one that is kept."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    token: str | None


class AdminHub:
    def __init__(self, *, hub: Hub, token: HubToken) -> None:
        self._hub = hub
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/admin/hf/search", self.search),
            web.get("/api/admin/hf/trending", self.trending),
            web.get("/api/admin/hf/probe", self.probe),
            web.post("/api/admin/hf/download-shards", self.download),
            web.get("/api/admin/hf/source/{id:.+}", self.source),
            web.put("/api/admin/hf/token", self.keep_token),
            web.get("/api/admin/downloads", self.downloads),
            web.post("/api/admin/downloads/{id:[^/]+}/cancel", self.cancel),
            web.post("/api/admin/downloads/{id:[^/]+}/pause", self.pause),
            web.post("/api/admin/downloads/{id:[^/]+}/resume", self.resume),
        ]

    async def search(self, http: web.Request) -> web.Response:
        """`trending=true` lists what is popular now, `repo_id` one repository; they need no `query`."""
        if http.query.get("repo_id"):
            return json_response([_found(await self._hub.look_at(http.query["repo_id"]))])
        query, trending = http.query.get("query", "").strip(), http.query.get("trending") == "true"
        if not query and not trending:
            raise InvalidRequest("Missing required parameter: 'query'.", param="query")
        limit = _number(http.query.get("limit", str(LIMIT)), "limit")
        found = await self._hub.search(query, limit=limit, trending=trending)
        return json_response([_found(repo) for repo in found])

    async def trending(self, _http: web.Request) -> web.Response:
        """What the node saw when it last looked; nothing if it has not, or is not to."""
        seen = self._hub.trending()
        return json_response({"looked": seen.looked, "models": [_found(repo) for repo in seen.repos]})

    async def probe(self, http: web.Request) -> web.Response:
        asked = {name: http.query.get(name, "") for name in ("repo_id", "filename")}
        for name, value in asked.items():
            if not value:
                raise InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
        revision = http.query.get("revision") or "main"
        return json_response(_probed(await self._hub.probe(*asked.values(), revision=revision)))

    async def download(self, http: web.Request) -> web.Response:
        """Answers as soon as the header is read and the download is in the queue."""
        body = await read_json(http, DownloadBody)
        if body.shards is not None and body.peer_fair_share:
            raise InvalidRequest("Give either 'shards' or 'peer_fair_share'.", param="shards")
        started = await self._hub.download(
            body.repo_id,
            body.filename,
            revision=body.revision,
            shards=body.shards,
            fair=body.peer_fair_share,
        )
        return json_response(download_fields(started), status=202)

    async def source(self, http: web.Request) -> web.Response:
        found = await self._hub.source(http.match_info["id"])
        return json_response(
            {
                "model_id": found.model_id,
                "repo_id": found.repo,
                "filename": found.filename,
                "revision": found.revision,
            }
        )

    async def keep_token(self, http: web.Request) -> web.Response:
        body = await read_json(http, TokenBody)
        await self._token.keep(body.token)
        return json_response({"status": "forgotten" if body.token is None else "kept"})

    async def downloads(self, _http: web.Request) -> web.Response:
        return json_response({"downloads": [download_fields(each) for each in self._hub.downloads.all()]})

    async def cancel(self, http: web.Request) -> web.Response:
        return json_response(download_fields(await self._hub.downloads.cancel(http.match_info["id"])))

    async def pause(self, http: web.Request) -> web.Response:
        return json_response(download_fields(await self._hub.downloads.pause(http.match_info["id"])))

    async def resume(self, http: web.Request) -> web.Response:
        return json_response(download_fields(await self._hub.downloads.resume(http.match_info["id"])))


def download_fields(download: Download) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(download)
    fields["repo_id"] = fields.pop("repo")
    fields["revision"] = fields.pop("commit")
    fields["source"] = "huggingface"
    return fields


def _found(found: FoundRepo) -> dict[str, Any]:
    repo = found.repo
    recommended = next((v for v in found.variants if v.filename == found.recommended), None)
    return {
        "repo_id": repo.id,
        "revision": repo.commit,
        "downloads": repo.downloads,
        "likes": repo.likes,
        "gated": repo.gated,
        "license": repo.license,
        "updated": repo.updated,
        "variants": [
            {
                "filename": variant.filename,
                "size_bytes": variant.size_bytes,
                "quant": variant.quantization,
                "files": len(variant.files),
            }
            for variant in found.variants
        ],
        "recommended_variant": recommended.quantization if recommended else "",
        "recommended_filename": found.recommended,
        "fits_memory": found.fits_memory,
    }


def _probed(probe: Probe) -> dict[str, Any]:
    manifest = probe.manifest
    return {
        "repo_id": probe.repo,
        "filename": probe.filename,
        "revision": probe.commit,
        "name": manifest.name,
        "architecture": manifest.facts.architecture,
        "quantization": manifest.quantization,
        "license": manifest.license,
        "size_bytes": sum(file.size for file in probe.files),
        "n_params": manifest.facts.n_params,
        "n_layers": manifest.facts.n_layers,
        "context_length": manifest.facts.context_length,
        "whole_only": probe.whole_only,
        "shards": [
            {
                "index": shard.index,
                "kind": shard.kind,
                "first_layer": shard.first,
                "last_layer": shard.last,
                "size_bytes": shard.data_bytes,
            }
            for shard in manifest.shards
        ],
        "memory": {
            "context": probe.context,
            "total_bytes": probe.memory.total,
            "terms": msgspec.to_builtins(probe.memory.terms),
            "fits": probe.fits,
            "verdict": probe.verdict,
        },
    }


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6):
        raise InvalidRequest(f"'{name}' has to be a whole number.", param=name)
    return int(text)
