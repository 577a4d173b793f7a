"""The typed client of a node's local API: the only way in for windows and commands.

Works on any asyncio loop, Qt's included. Every failure is a ClientError.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from app.client.errors import ClientError, bad_answer, connection_lost, error_in, not_running, timed_out
from app.client.hub import Hub
from app.client.network import Network
from app.client.sse import EventReader
from app.client.store import Store
from app.client.streams import END, deltas, import_step
from app.client.types import ConfigRow, Delta, Message, Model, Options, Placement, Stats, Status, StoredModel

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
CALL_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 600.0
LARGE_BODY: Final = 1 << 19
UNARY: Final = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)


class _ModelList(msgspec.Struct):
    data: tuple[Model, ...]


class _Library(msgspec.Struct):
    models: tuple[StoredModel, ...]


class _Config(msgspec.Struct):
    options: tuple[ConfigRow, ...]


class _Key(msgspec.Struct):
    api_key: str


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


class _Ignored(msgspec.Struct):
    """An answer that says only that it is done."""


def _payload(body: bytes) -> bytes | BytesIO:
    """aiohttp sends a stream in pieces, so that a large body does not hold up the loop."""
    return body if len(body) < LARGE_BODY else BytesIO(body)


def _of_model(model: str) -> str:
    return f"/api/admin/models/{quote(model, safe='')}"


class Client:
    """`url` is the node's, e.g. "http://127.0.0.1:8800"; `token` its API key or session token.

    `silence` is how many seconds a stream may say nothing: loading a large model takes minutes.
    """

    def __init__(self, url: str, token: str, *, silence: float = SILENCE_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._silence = silence
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Streams hold their connections: a hundred of them must not keep status() waiting.
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def hub(self) -> Hub:
        """Models of a Hugging Face hub, and the downloads."""
        return Hub(partial(self._call, patience=self._patient()))

    @property
    def network(self) -> Network:
        """The nodes that the node meets."""
        return Network(partial(self._call, patience=self._patient()))

    @property
    def store(self) -> Store:
        """The shards of the node's models, and what other programs hold."""
        return Store(call=partial(self._call, patience=self._patient()), follow=self._followed)

    async def status(self) -> Status:
        return await self._call("GET", "/v1/status", Status)

    async def models(self) -> tuple[Model, ...]:
        """The models that can be asked."""
        return (await self._call("GET", "/v1/models", _ModelList)).data

    def chat(
        self, messages: Sequence[Message], *, model: str = "auto", options: Options | None = None
    ) -> AsyncGenerator[Delta, None]:
        """The answer to a conversation, piece by piece; the last piece is its Usage.

        Closing the iterator (aclose) or cancelling the task that reads it ends the generation.
        """
        return self._deltas("/v1/chat/completions", {"messages": list(messages)}, model, options)

    def complete(
        self, prompt: str, *, model: str = "auto", options: Options | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Text that continues `prompt`, without a chat template; as `chat` otherwise."""
        return self._deltas("/v1/completions", {"prompt": prompt}, model, options)

    async def embed(self, texts: Sequence[str], *, model: str = "auto") -> list[list[float]]:
        """One vector for each text."""
        body = {"model": model, "input": list(texts), "encoding_format": "float"}
        answer = await self._call("POST", "/v1/embeddings", _Embeddings, body, patience=self._patient())
        return [row.embedding for row in answer.data]

    async def library(self) -> tuple[StoredModel, ...]:
        """Every model in the node's library, complete or not."""
        return (await self._call("GET", "/api/admin/models", _Library)).models

    async def add_model(
        self,
        path: Path,
        *,
        name: str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> StoredModel:
        """Takes the GGUF file at `path`, absolute and on the node's machine, into its library.

        `progress` is called with fractions from 0 to 1. Cancelling the task cancels the import.
        """
        body = {"path": str(path)} | ({} if name is None else {"name": name})
        return await self._followed("/api/admin/models/import", body, progress)

    async def remove_model(self, model: str) -> None:
        """Deletes the model's files."""
        await self._call("DELETE", _of_model(model), _Ignored, patience=self._patient())

    async def load_model(self, model: str) -> None:
        """Returns when the model is in memory."""
        await self._call("POST", f"{_of_model(model)}/load", _Ignored, patience=self._patient())

    async def unload_model(self, model: str) -> None:
        await self._call("POST", f"{_of_model(model)}/unload", _Ignored, patience=self._patient())

    async def plan(self, model: str) -> Placement:
        """Where the model would run, how fast, what is missing, and who would see what."""
        return await self._call("GET", f"{_of_model(model)}/plan", Placement)

    async def stats(self) -> Stats:
        return await self._call("GET", "/api/admin/stats", Stats)

    async def config(self) -> tuple[ConfigRow, ...]:
        """The node's effective options."""
        return (await self._call("GET", "/api/admin/config", _Config)).options

    async def api_key(self) -> str:
        return (await self._call("GET", "/api/admin/api-key", _Key)).api_key

    async def shutdown(self) -> None:
        """Asks the node to stop; it goes on to do so after this returns."""
        await self._call("POST", "/api/admin/shutdown", _Ignored)

    async def _followed(
        self, path: str, body: object, progress: Callable[[float], None] | None
    ) -> StoredModel:
        """Reads of work how far it is, and at its end the model."""
        async with self._open("POST", path, body, patience=self._patient()) as response:
            async for line in self._lines(response):
                step = import_step(line)
                if isinstance(step, StoredModel):
                    return step
                if progress is not None:
                    progress(step)
        raise connection_lost(self.url)

    async def _deltas(
        self, path: str, body: Mapping[str, Any], model: str, options: Options | None
    ) -> AsyncGenerator[Delta, None]:
        fields = msgspec.to_builtins(options or Options()) | {
            **body,
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with self._open("POST", path, fields, patience=self._patient()) as response:
            async for event in self._events(response):
                if event == END:
                    return
                for delta in deltas(event):
                    yield delta
        raise connection_lost(self.url)

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        reader = EventReader()
        with self._spoken():
            async for received in response.content.iter_any():
                for event in reader.feed(received):
                    yield event

    def _patient(self) -> aiohttp.ClientTimeout:
        """For what may take any time as long as it goes on."""
        return aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=self._silence)

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with self._spoken():
            async for line in response.content:
                yield line

    async def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: object = None,
        *,
        patience: aiohttp.ClientTimeout = UNARY,
    ) -> T:
        async with self._open(method, path, body, patience=patience) as response:
            with self._spoken():
                answer = await response.read()
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError:
            raise bad_answer(self.url) from None

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: object = None, *, patience: aiohttp.ClientTimeout = UNARY
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that says success. Raises ClientError."""
        if self._session is None:
            raise RuntimeError("a Client is used inside its `async with`")
        with self._spoken():
            response = await self._session.request(
                method,
                self.url + path,
                data=None if body is None else _payload(msgspec.json.encode(body)),
                headers=None if body is None else {"Content-Type": "application/json"},
                allow_redirects=False,
                timeout=patience,
            )
        try:
            if response.status >= 300:
                raise await self._error(response)
            yield response
        finally:
            response.release()

    async def _error(self, response: aiohttp.ClientResponse) -> ClientError:
        with self._spoken():
            body = await response.read()
        retry_after = response.headers.get("Retry-After")
        return error_in(body, status=response.status, retry_after=retry_after) or bad_answer(self.url)

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Turns what goes wrong on the wire into a sentence."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError:
            raise not_running(self.url) from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise timed_out(self.url) from None
        except aiohttp.ClientConnectorError:
            raise not_running(self.url) from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError):
            raise connection_lost(self.url) from None
        except (aiohttp.ClientError, ValueError):
            raise bad_answer(self.url) from None
