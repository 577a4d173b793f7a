"""Talks HTTP with a hub: JSON within bounds, and ranges of files wherever the hub sends us for them.

The token goes to the hub alone, never to the host that it redirects to, and never over plain HTTP to
another machine. Nothing a server says is shown to people or believed beyond its status and its numbers.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
import msgspec
from yarl import URL

from app import __version__
from app.core.kernel.errors import AccessDenied, InvalidRequest, NetworkError, NotFound
from app.core.models.hub.answers import HubFile, HubRepo, RepoAnswer, license_of
from app.core.models.hub.failures import (
    Moved,
    Patience,
    Unreliable,
    on_the_wire,
    retry_after,
)
from app.core.models.hub.naming import check_filename, check_repo, check_revision, hub_address, is_commit

T = TypeVar("T")

MAX_JSON: Final = 32 << 20
JSON_SECONDS: Final = 60.0
MAX_HOPS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
CONNECT_SECONDS: Final = 15.0
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_HEX: Final = re.compile(r"[0-9a-f]+")


class HubClient:
    """A hub at `endpoint`. `token` gives the user's access token or None; it is asked whenever needed.

    `silence` is how many seconds a server may send nothing. Every method raises InvalidRequest for
    impossible names, NotFound, AccessDenied or NetworkError; `Unreliable` among these is worth a retry,
    and `repo` and `search` have made theirs.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        token: Callable[[], Awaitable[str | None]],
        patience: Patience,
        silence: float = 30.0,
    ) -> None:
        self._endpoint = hub_address(endpoint)
        self._token = token
        self._patience = patience
        self._timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=silence)
        self._session: aiohttp.ClientSession | None = None
        self._places: dict[HubFile, URL] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            headers={"User-Agent": f"swarmllm/{__version__}", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def search(self, query: str, *, limit: int, sort: str = "downloads") -> tuple[str, ...]:
        """Ids of repositories with GGUF files that fit `query`, the most downloaded or trending first."""
        asked = {"search": query, "filter": "gguf", "sort": sort, "direction": "-1", "limit": str(limit)}
        found = await self._json(self._endpoint / "api/models" % asked, list[RepoAnswer], "the search")
        return tuple(answer.id for answer in found[:limit] if _sound(check_repo, answer.id))

    async def repo(self, repo: str, revision: str = "main") -> HubRepo:
        """What a repository holds at `revision`: the GGUF files with sizes and hashes."""
        url = self._endpoint / "api/models" / check_repo(repo) / "revision" / check_revision(revision)
        answer = await self._json(url % {"blobs": "true"}, RepoAnswer, f"the repository {repo}")
        if not is_commit(answer.sha):
            raise NetworkError(f"The hub names no commit for the repository {repo}.")
        return HubRepo(
            id=repo,
            commit=answer.sha,
            gated=bool(answer.gated),
            downloads=max(0, answer.downloads),
            likes=max(0, answer.likes),
            updated=answer.lastModified[:32],
            license=license_of(answer.tags),
            files=_files(repo, answer),
        )

    @asynccontextmanager
    async def open_range(self, file: HubFile, start: int, length: int) -> AsyncIterator["Body"]:
        """The body of bytes `start` to `start + length` of `file`, which may end early. Raises Unreliable."""
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        place = self._places.get(file)
        known = place is not None
        url = place or self._endpoint / file.repo / "resolve" / file.commit / file.path
        async with self._opened(url, headers, f"the file {file.path}", file) as response:
            if response.status in {401, 403, 404, 410} and (
                known or response.url.origin() != self._endpoint.origin()
            ):
                self._places.pop(file, None)
                raise Moved(f"{response.url.host} no longer has the file {file.path} at the address given.")
            _require_success(response, f"the file {file.path}")
            _require_range(response, start, length, file.size)
            yield Body(response)

    @asynccontextmanager
    async def _opened(
        self, url: URL, headers: Mapping[str, str], what: str, file: HubFile | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of the redirects; whoever asks looks at its status."""
        for _ in range(MAX_HOPS):
            response = await self._request(url, headers)
            try:
                target = _redirect(response, what)
                if target is None:
                    yield response
                    return
                if file is not None:
                    _require_same(response, file)
                    if target.origin() != self._endpoint.origin():
                        self._places[file] = target
            finally:
                response.release()
            url = target
        raise NetworkError(f"The hub redirects {what} without end.")

    async def _request(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("a HubClient is used inside its `async with`")
        sent = dict(headers)
        if url.origin() == self._endpoint.origin() and _private(url):
            token = await self._token()
            if token:
                sent["Authorization"] = f"Bearer {token}"
        with on_the_wire(url.host or "the hub"):
            return await self._session.get(url, headers=sent, allow_redirects=False)

    async def _json(self, url: URL, kind: type[T], what: str) -> T:
        async def attempt() -> bytes:
            async with self._opened(url, {}, what) as response:
                _require_success(response, what)
                with on_the_wire(url.host or "the hub"):
                    async with asyncio.timeout(JSON_SECONDS):
                        return await _bounded(response, what)

        answer = await self._patience.persist(attempt)
        try:
            return await asyncio.to_thread(msgspec.json.decode, answer, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NetworkError(f"{url.host} answered about {what} with something that is no hub's.") from None


class Body:
    """What a server sends of a file."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._host = response.url.host or "the hub"

    async def read(self, count: int) -> bytes:
        """At most `count` bytes, none at the end. Raises Unreliable."""
        with on_the_wire(self._host):
            return await self._content.read(count)


def _private(url: URL) -> bool:
    """Whether nobody else can read what is sent there."""
    if url.scheme == "https" or url.host == "localhost":
        return True
    try:
        return ip_address(url.host or "").is_loopback
    except ValueError:
        return False


def _redirect(response: aiohttp.ClientResponse, what: str) -> URL | None:
    if response.status not in REDIRECTS:
        return None
    try:
        target = response.url.join(URL(response.headers["Location"], encoded=True))
        target.origin()
    except (KeyError, ValueError):
        raise NetworkError(f"The hub redirects {what} to nowhere.") from None
    if target.scheme not in {"http", "https"} or (response.url.scheme == "https" != target.scheme):
        raise NetworkError(f"The hub redirects {what} to an address that is not safe.")
    return target


def _require_same(response: aiohttp.ClientResponse, file: HubFile) -> None:
    """A file at a commit never changes; a hub that says otherwise is not asked for it any longer."""
    size, etag = response.headers.get("X-Linked-Size"), response.headers.get("X-Linked-ETag", "")
    found = etag.removeprefix("W/").strip('"')
    if (size is not None and size != str(file.size)) or (found and found != file.digest.partition(":")[2]):
        raise NetworkError(f"The file {file.path} is not the one that the hub listed.")


def _require_success(response: aiohttp.ClientResponse, what: str) -> None:
    status, code = response.status, response.headers.get("X-Error-Code", "")
    if status in {200, 206}:
        return
    if code == "GatedRepo" or status == 403:
        raise AccessDenied(
            f"Access to {what} is restricted: accept its conditions on the hub and give this node your token."
        )
    if status == 401 and code != "RepoNotFound":
        raise AccessDenied(f"The hub wants a valid access token for {what}.")
    if status in {401, 404, 410}:
        raise NotFound(f"The hub does not have {what}, or it is private.")
    if status == 416:
        raise Unreliable(f"The hub has less of {what} than it said (416).")
    if status in {408, 425, 429} or status >= 500:
        wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        reason = "is asked too often" if status == 429 else "has trouble"
        raise Unreliable(f"{response.url.host} {reason} ({status}).", retry_after=wait)
    raise NetworkError(f"{response.url.host} answered about {what} with the status {status}.")


def _require_range(response: aiohttp.ClientResponse, start: int, length: int, size: int) -> None:
    host = response.url.host
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unreliable(f"{host} sent the file in an encoding that nobody asked for.")
    if response.status == 200:
        if (start, length) != (0, size) or response.content_length not in {None, size}:
            raise Unreliable(f"{host} sent a whole file instead of the range asked for.")
        return
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or [int(number) for number in found.groups()] != [start, start + length - 1, size]:
        raise Unreliable(f"{host} sent another range than the one asked for.")


async def _bounded(response: aiohttp.ClientResponse, what: str) -> bytes:
    data = bytearray()
    async for part in response.content.iter_any():
        data += part
        if len(data) > MAX_JSON:
            raise NetworkError(f"The hub's answer about {what} is larger than {MAX_JSON >> 20} MiB.")
    return bytes(data)


def _files(repo: str, answer: RepoAnswer) -> tuple[HubFile, ...]:
    files = []
    for sibling in answer.siblings:
        digest = _digest(sibling.lfs.sha256 if sibling.lfs else "", sibling.blob)
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if digest and size is not None and 0 < size < 1 << 48 and _sound(check_filename, sibling.path):
            files.append(HubFile(repo=repo, commit=answer.sha, path=sibling.path, size=size, digest=digest))
    return tuple(files)


def _digest(sha256: str, blob: str) -> str:
    for kind, length, text in (("sha256", 64, sha256), ("git", 40, blob)):
        if len(text) == length and _HEX.fullmatch(text):
            return f"{kind}:{text}"
    return ""


def _sound(check: Callable[[str], str], name: str) -> bool:
    try:
        check(name)
    except InvalidRequest:
        return False
    return True
