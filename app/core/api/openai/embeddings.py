"""POST /v1/embeddings."""

import asyncio
import sys
from array import array
from base64 import b64encode
from collections.abc import Iterator

import msgspec
from aiohttp import web

from app.core.api.body import read_json
from app.core.api.openai.schema import EmbeddingBody
from app.core.api.openai.translate import embedding_request
from app.core.api.ports import Router
from app.core.kernel.errors import Unsupported
from app.core.kernel.generation import EmbeddingResult

FLOAT = 4


class Embeddings:
    def __init__(self, *, router: Router) -> None:
        self._router = router

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/embeddings", self.create)]

    async def create(self, http: web.Request) -> web.Response:
        body = await read_json(http, EmbeddingBody)
        result = await self._router.embed(embedding_request(body))
        if body.dimensions not in (None, result.width):
            raise Unsupported(
                f"This model does not support other dimensions than its own, {result.width}.",
                param="dimensions",
            )
        data: list[bytes] = []
        for vector in _rows(result):
            data.append(_encoded(len(data), vector, as_base64=body.encoding_format == "base64"))
            await asyncio.sleep(0)
        tail = {
            "model": body.model,
            "usage": {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens},
        }
        return web.Response(
            body=b"".join(
                (b'{"object":"list","data":[', b",".join(data), b"],", msgspec.json.encode(tail)[1:])
            ),
            content_type="application/json",
        )


def _rows(result: EmbeddingResult) -> Iterator[memoryview]:
    size = result.width * FLOAT
    vectors = memoryview(result.vectors)
    return (vectors[index * size : (index + 1) * size] for index in range(result.count))


def _encoded(index: int, vector: memoryview, *, as_base64: bool) -> bytes:
    """base64 is of float32, little-endian."""
    numbers = array("f")
    numbers.frombytes(vector)
    shown: str | list[float]
    if as_base64:
        if sys.byteorder == "big":
            numbers.byteswap()
        shown = b64encode(numbers.tobytes()).decode()
    else:
        shown = numbers.tolist()
    return msgspec.json.encode({"object": "embedding", "index": index, "embedding": shown})
