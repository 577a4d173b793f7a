"""A Hugging Face hub on this machine: the routes, headers and habits of the real one, and its failures.

Two servers: the hub itself, which redirects to the second one for file contents, as the real hub does to
its CDN. `faults` are applied to requests for contents, one after the other, each once.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from aiohttp import web

TOKEN = "hf_testtokentesttokentesttoken"
MTIME = "2026-01-02T03:04:05.000Z"


@dataclass(kw_only=True)
class Repo:
    """`files` maps paths to contents; `gated` ones want the token; `plain` files are not in LFS."""

    files: Mapping[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    gated: bool = False
    downloads: int = 100
    likes: int = 5
    tags: tuple[str, ...] = ("gguf", "license:apache-2.0")
    plain: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Fault:
    """What one answer for contents does wrong. `after` counts body bytes."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: int | None = None
    stall: int | None = None
    flip: int | None = None
    shift: int = 0
    whole: bool = False
    path: str = "*"
    body: bytes = b"fault"


@dataclass(kw_only=True)
class Seen:
    """A request that arrived."""

    server: str
    method: str
    path: str
    headers: Mapping[str, str]


class HubServer:
    """`async with HubServer({"owner/name": Repo(...)}) as hub:` listens at `hub.url`."""

    def __init__(self, repos: Mapping[str, Repo]) -> None:
        self.repos = dict(repos)
        self.faults: list[Fault] = []
        self.api_faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.url = ""
        self.cdn_url = ""
        self.body_bytes = 0
        self.pace: float = 0.0
        self._ceiling: int | None = None
        self.signature = "first"
        self.busy = 0
        self.most_busy = 0
        self._runners: list[web.AppRunner] = []
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.cdn_url = await self._serve(self._cdn_routes(), "cdn")
        self.url = await self._serve(self._hub_routes(), "hub")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        for runner in self._runners:
            await runner.cleanup()

    def release(self) -> None:
        """Ends every stall."""
        self._released.set()

    def allow(self, count: int | None) -> None:
        """Sends `count` more bytes of contents, or a little more, and then waits; None: all."""
        self._ceiling = None if count is None else self.body_bytes + count

    async def _serve(self, routes: list[web.RouteDef], name: str) -> str:
        @web.middleware
        async def note(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            headers = dict(request.headers)
            self.seen.append(Seen(server=name, method=request.method, path=request.path_qs, headers=headers))
            response: web.StreamResponse = await handler(request)
            return response

        app = web.Application(middlewares=[note])
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    # --- the hub ----------------------------------------------------------------------------------

    def _hub_routes(self) -> list[web.RouteDef]:
        repo = "{owner}/{name}"
        return [
            web.get("/api/models", self._list),
            web.get(f"/api/models/{repo}/tree/{{revision}}", self._tree),
            web.get(f"/api/models/{repo}/tree/{{revision}}/{{path:.*}}", self._tree),
            web.get(f"/api/models/{repo}/revision/{{revision}}", self._info),
            web.get(f"/api/models/{repo}", self._info),
            web.get(f"/{repo}/resolve/{{revision}}/{{path:.+}}", self._resolve),
        ]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if (failed := self._api_fault(request)) is not None:
            return failed
        query = request.query
        words = query.get("search", "").lower().split()
        filters = query.getall("filter", [])
        found = [
            (name, repo)
            for name, repo in self.repos.items()
            if all(word in name.lower() for word in words)
            and all(tag in repo.tags for given in filters for tag in given.split(","))
        ]
        if query.get("sort") in {"downloads", "likes"}:
            found.sort(key=lambda pair: getattr(pair[1], query["sort"]), reverse=True)
        elif query.get("sort") == "trendingScore":
            found.sort(key=lambda pair: pair[1].likes, reverse=True)
        limit = int(query.get("limit", "1000"))
        return web.json_response([self._described(name, repo) for name, repo in found[:limit]])

    def _described(self, name: str, repo: Repo, *, blobs: bool = False) -> dict[str, Any]:
        siblings = [{"rfilename": path} | (_blob(repo, path) if blobs else {}) for path in repo.files]
        return {
            "_id": "65a0",
            "id": name,
            "modelId": name,
            "author": name.partition("/")[0],
            "sha": repo.commit,
            "lastModified": MTIME,
            "createdAt": MTIME,
            "private": False,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": repo.downloads,
            "likes": repo.likes,
            "tags": list(repo.tags),
            "pipeline_tag": "text-generation",
            "siblings": siblings,
        }

    async def _info(self, request: web.Request) -> web.StreamResponse:
        if (failed := self._api_fault(request)) is not None:
            return failed
        name, repo = self._repo(request)
        self._revision(request, repo, request.match_info.get("revision", "main"))
        return web.json_response(self._described(name, repo, blobs=request.query.get("blobs") is not None))

    async def _tree(self, request: web.Request) -> web.StreamResponse:
        if (failed := self._api_fault(request)) is not None:
            return failed
        _, repo = self._repo(request)
        self._revision(request, repo, request.match_info["revision"])
        rows: list[dict[str, Any]] = []
        folders = sorted({path.rpartition("/")[0] for path in repo.files if "/" in path})
        rows += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders]
        for path in repo.files:
            blob = _blob(repo, path)
            row = {"type": "file", "oid": blob["blobId"], "size": blob["size"], "path": path}
            if "lfs" in blob:
                row["lfs"] = {
                    "oid": blob["lfs"]["sha256"],
                    "size": blob["size"],
                    "pointerSize": 130,
                }
            rows.append(row)
        start, limit = int(request.query.get("cursor", "0")), int(request.query.get("limit", "50"))
        headers = {}
        if start + limit < len(rows):
            path = f"{self.url}{request.path}?recursive=true&limit={limit}&cursor={start + limit}"
            headers["Link"] = f'<{path}>; rel="next"'
        return web.json_response(rows[start : start + limit], headers=headers)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if (failed := self._api_fault(request)) is not None:
            return failed
        name, repo = self._repo(request, gate=True)
        self._revision(request, repo, request.match_info["revision"])
        path = request.match_info["path"]
        if path not in repo.files:
            raise _refused(404, "EntryNotFound", "Entry not found")
        blob = _blob(repo, path)
        etag = blob["lfs"]["sha256"] if "lfs" in blob else blob["blobId"]
        headers = {"X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if "lfs" not in blob:
            return _content(request, repo.files[path], headers | {"ETag": f'"{etag}"'})
        headers |= {
            "X-Linked-Size": str(blob["size"]),
            "X-Linked-ETag": f'"{etag}"',
            "Location": f"{self.cdn_url}/{quote(name)}/{quote(path)}?signature={self.signature}",
        }
        return web.Response(status=302, headers=headers)

    def _repo(self, request: web.Request, *, gate: bool = False) -> tuple[str, Repo]:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        given = request.headers.get("Authorization")
        if given is not None and given != f"Bearer {TOKEN}":
            raise _refused(401, "InvalidToken", "Invalid credentials in Authorization header")
        repo = self.repos.get(name)
        if repo is None:
            code, status = ("RepoNotFound", 404) if given else ("RepoNotFound", 401)
            raise _refused(status, code, "Repository not found")
        if gate and repo.gated and given is None:
            raise _refused(401, "GatedRepo", f"Access to model {name} is restricted.")
        return name, repo

    def _revision(self, request: web.Request, repo: Repo, revision: str) -> None:
        if revision not in {"main", repo.commit}:
            raise _refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _api_fault(self, request: web.Request) -> web.Response | None:
        fault = _take(self.api_faults, request.path)
        if fault is None:
            return None
        return web.Response(status=fault.status, headers=dict(fault.headers), body=fault.body)

    # --- the CDN ----------------------------------------------------------------------------------

    def _cdn_routes(self) -> list[web.RouteDef]:
        return [web.get("/{owner}/{name}/{path:.+}", self._contents)]

    async def _contents(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("signature") != self.signature:
            return web.Response(status=403, text="expired")
        repo = self.repos[f"{request.match_info['owner']}/{request.match_info['name']}"]
        data = repo.files[request.match_info["path"]]
        fault = None if request.method == "HEAD" else _take(self.faults, request.path)
        if fault is None and not self.pace and self._ceiling is None:
            self.body_bytes += len(_sliced(request, data)[0])
            return _content(request, data, {})
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await self._faulty(request, data, fault or Fault())
        finally:
            self.busy -= 1

    async def _faulty(self, request: web.Request, data: bytes, fault: Fault) -> web.StreamResponse:
        if fault.status:
            return web.Response(status=fault.status, headers=dict(fault.headers), text="fault")
        body, content_range = _sliced(request, data, shift=fault.shift)
        if fault.whole:
            return web.Response(body=data)
        if fault.flip is not None and body:
            place = fault.flip % len(body)
            body = body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]
        response = web.StreamResponse(status=206, headers={"Content-Range": content_range})
        response.content_length = len(body)
        await response.prepare(request)
        end = len(body) if fault.truncate is None else min(fault.truncate, len(body))
        end = end if fault.stall is None else min(fault.stall, end)
        with contextlib.suppress(ConnectionResetError):
            await self._write(request, response, body[:end])
        if fault.stall is not None:
            await self._released.wait()
        broken = fault.truncate is not None or fault.stall is not None
        if broken and request.transport is not None:
            request.transport.close()
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, body: bytes) -> None:
        step = 64 << 10 if self.pace or self._ceiling is not None else max(1, len(body))
        for start in range(0, len(body), step):
            await self._wait_for_leave(request)
            part = body[start : start + step]
            await response.write(part)
            self.body_bytes += len(part)
            if self.pace:
                await asyncio.sleep(len(part) / self.pace)

    async def _wait_for_leave(self, request: web.Request) -> None:
        while self._ceiling is not None and self.body_bytes >= self._ceiling:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(0.005)


def _take(faults: list[Fault], path: str) -> Fault | None:
    for place, fault in enumerate(faults):
        if fnmatch(path, fault.path):
            return faults.pop(place)
    return None


def _blob(repo: Repo, path: str) -> dict[str, Any]:
    data = repo.files[path]
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    blob: dict[str, Any] = {"size": len(data), "blobId": oid}
    if path.endswith(".gguf") and path not in repo.plain:
        blob["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return blob


def _sliced(request: web.Request, data: bytes, *, shift: int = 0) -> tuple[bytes, str]:
    asked = request.http_range
    start, stop = asked.start or 0, len(data) if asked.stop is None else min(asked.stop, len(data))
    start, stop = min(start + shift, len(data)), min(stop + shift, len(data))
    return data[start:stop], f"bytes {start}-{stop - 1}/{len(data)}"


def _content(request: web.Request, data: bytes, headers: Mapping[str, str]) -> web.Response:
    if "Range" not in request.headers:
        return web.Response(body=data, headers=dict(headers) | {"Accept-Ranges": "bytes"})
    if (request.http_range.start or 0) >= len(data):
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    body, content_range = _sliced(request, data)
    return web.Response(status=206, body=body, headers=dict(headers) | {"Content-Range": content_range})


def _refused(status: int, code: str, message: str) -> web.HTTPException:
    kinds = {401: web.HTTPUnauthorized, 403: web.HTTPForbidden, 404: web.HTTPNotFound}
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return kinds[status](headers=headers, text=f'{{"error": "{message}"}}', content_type="application/json")
