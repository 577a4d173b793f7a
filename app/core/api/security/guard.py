"""The one door: every request passes here before it reaches its handler, and every answer on its way out.

Order: Host and Origin, key, rate, then the handler; errors of all of them become answers in the dialect's
shape. Nothing that a request carries is logged but its method and path.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from aiohttp import web

from app.core.api.problems import MethodNotAllowed, Problem, RouteNotFound, problem_of
from app.core.api.security.headers import SECURITY_HEADERS
from app.core.api.security.keys import Holder, Keys, unauthorized
from app.core.api.security.origins import Origins
from app.core.api.security.ratelimit import RateLimiter
from app.core.kernel.errors import SwarmError

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN_PATHS: Final = frozenset({"/", "/health", "/health/ready", "/metrics"})
ADMIN: Final = "/api/admin"
LONGEST_PATH: Final = 200
REQUEST_ID: Final = web.RequestKey("request_id", str)
BEGUN: Final = web.RequestKey("begun", bool)
"""Set once an answer's head is on its way."""
HUNG_UP: Final = 499
"""What is logged as the status of a request whose client went away."""


class Guard:
    """`error_body` gives a problem the shape of the dialect that is spoken at a path."""

    def __init__(
        self,
        *,
        keys: Keys,
        origins: Origins,
        limiter: RateLimiter,
        admin_limiter: RateLimiter,
        error_body: Callable[[str, Problem], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._origins = origins
        self._limiter = limiter
        self._admin_limiter = admin_limiter
        self._error_body = error_body
        self._clock = clock
        self._running: set[asyncio.Task[object]] = set()

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """For aiohttp's on_response_prepare."""
        response.headers.update(SECURITY_HEADERS)
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        request[BEGUN] = True
        response.headers.pop("Server", None)
        origin = request.headers.get("Origin")
        if origin is not None and self._origins.allows_page(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"

    def cancel_running(self) -> None:
        """Ends every request that is still being answered."""
        for task in tuple(self._running):
            task.cancel()

    async def run(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers `request`, with `handler` if it may pass."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        request[REQUEST_ID] = uuid4().hex
        began = self._clock()
        status = HUNG_UP
        try:
            response = await self._answer(request, handler)
            status = response.status
            return response
        finally:
            self._running.discard(task)
            took = 1000 * (self._clock() - began)
            log.debug("%s %d %.1f ms %s", _shown(request), status, took, request[REQUEST_ID])

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if _is_preflight(request) and self._origins.allows_page(request.headers.get("Origin")):
                self._check_origin(request)
                return _preflight()
            self._admit(request)
            return await handler(request)
        except SwarmError as error:
            return self._problem(request, problem_of(error))
        except web.HTTPException as error:
            return self._problem(request, problem_of(_translated(request, error)))
        except ConnectionError:
            raise
        except Exception as error:
            log.exception("%s failed (%s)", _shown(request), request[REQUEST_ID])
            return self._problem(request, problem_of(error))

    def _admit(self, request: web.Request) -> None:
        self._check_origin(request)
        if _route(request) in OPEN_PATHS:
            return
        authorization = request.headers.get("Authorization")
        holder = self._keys.holder(authorization)
        self._count(request, holder)
        if holder is None:
            raise unauthorized(authorization)

    def _check_origin(self, request: web.Request) -> None:
        self._origins.check(host=request.headers.get("Host"), origin=request.headers.get("Origin"))

    def _count(self, request: web.Request, holder: Holder | None) -> None:
        """Requests without a key have a bucket of their own, so that they cannot use up that of the user."""
        if holder == "session":
            return
        limiter = self._admin_limiter if _route(request).startswith(ADMIN) else self._limiter
        limiter.take(f"{request.remote} {holder}")

    def _problem(self, request: web.Request, problem: Problem) -> web.Response:
        """Raises ConnectionAbortedError where an answer has begun: a second one would be read as its rest."""
        if request.get(BEGUN):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionAbortedError
        response = web.Response(
            status=problem.status,
            body=self._error_body(request.path, problem),
            content_type="application/json",
            headers=problem.headers,
        )
        if not request.content.is_eof():
            # What is left of the body is not worth waiting for.
            response.force_close()
        return response


def _shown(request: web.Request) -> str:
    """Method and path as they came, percent-encoded: a path cannot forge lines of the log."""
    return f"{request.method} {request.rel_url.raw_path[:LONGEST_PATH]}"


def _route(request: web.Request) -> str:
    """The path of the handler that was found, "" if none was. The path in the request may be written in
    many ways."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        },
    )


def _translated(request: web.Request, error: web.HTTPException) -> SwarmError:
    """aiohttp's own answers: only its router gives any."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return MethodNotAllowed(
            f"{_shown(request)} is not possible here.", allowed=frozenset(error.allowed_methods)
        )
    return RouteNotFound(f"There is nothing at {request.rel_url.raw_path[:LONGEST_PATH]}.")
