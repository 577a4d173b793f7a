"""POST /v1/chat/completions."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast
from uuid import uuid4

from aiohttp import web

from app.core.api.body import read_json
from app.core.api.openai.envelope import Envelope
from app.core.api.openai.render import ChatAnswer, ChatStream
from app.core.api.openai.schema import ChatBody
from app.core.api.openai.translate import chat_request
from app.core.api.ports import Router
from app.core.api.sse import stream
from app.core.kernel.generation import Chunk


class ChatCompletions:
    """`wall_clock` gives Unix seconds, for `created`."""

    def __init__(self, *, router: Router, wall_clock: Callable[[], float]) -> None:
        self._router = router
        self._wall_clock = wall_clock

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", self.create)]

    async def create(self, http: web.Request) -> web.StreamResponse:
        body = await read_json(http, ChatBody)
        request = chat_request(body)
        answer_id = f"chatcmpl-{uuid4().hex}"
        created = int(self._wall_clock())
        chunks = self._router.chat(request)
        if body.stream:
            include_usage = bool(body.stream_options and body.stream_options.include_usage)
            envelope = Envelope(
                kind="chat.completion.chunk",
                answer_id=answer_id,
                created=created,
                include_usage=include_usage,
            )
            return await stream(http, chunks, ChatStream(envelope=envelope, n=request.n))
        answer = ChatAnswer(
            answer_id=answer_id,
            created=created,
            model=request.model,
            n=request.n,
            logprobs=request.sampling.logprobs is not None,
        )
        async with aclosing(cast(AsyncGenerator[Chunk, None], chunks)):
            async for chunk in chunks:
                answer.feed(chunk)
        return web.Response(body=answer.body(), content_type="application/json")
