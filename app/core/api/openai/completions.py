"""POST /v1/completions, OpenAI's legacy endpoint: text in, text out, no chat template."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast
from uuid import uuid4

from aiohttp import web

from app.core.api.body import read_json
from app.core.api.openai.envelope import Envelope
from app.core.api.openai.render_text import TextAnswer, TextStream
from app.core.api.openai.schema import CompletionBody
from app.core.api.openai.translate import completion_requests
from app.core.api.ports import Router
from app.core.api.sse import stream
from app.core.api.together import side_by_side
from app.core.kernel.generation import Chunk


class Completions:
    """`wall_clock` gives Unix seconds, for `created`."""

    def __init__(self, *, router: Router, wall_clock: Callable[[], float]) -> None:
        self._router = router
        self._wall_clock = wall_clock

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/completions", self.create)]

    async def create(self, http: web.Request) -> web.StreamResponse:
        body = await read_json(http, CompletionBody)
        requests = completion_requests(body)
        n = requests[0].n
        echoed = [len(request.prompt) if request.echo else 0 for request in requests for _ in range(n)]
        answer_id = f"cmpl-{uuid4().hex}"
        created = int(self._wall_clock())
        chunks = side_by_side([self._router.complete(request) for request in requests], n=n)
        if body.stream:
            include_usage = bool(body.stream_options and body.stream_options.include_usage)
            envelope = Envelope(
                kind="text_completion", answer_id=answer_id, created=created, include_usage=include_usage
            )
            return await stream(http, chunks, TextStream(envelope=envelope, echoed=echoed))
        answer = TextAnswer(
            answer_id=answer_id,
            created=created,
            model=body.model,
            echoed=echoed,
            logprobs=body.logprobs is not None,
        )
        async with aclosing(cast(AsyncGenerator[Chunk, None], chunks)):
            async for chunk in chunks:
                answer.feed(chunk)
        return web.Response(body=answer.body(), content_type="application/json")
