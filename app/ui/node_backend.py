"""The windows' Backend, carried out by the node's own API."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Literal, cast

from PySide6.QtCore import QLocale

from app.client import Client, ClientError
from app.client.types import Finished, Message, Model, Options, Reasoning, Text, Usage
from app.ui.backend import (
    AnswerPart,
    BackendError,
    Done,
    ModelChoice,
    NodeState,
    ReasoningPart,
    Said,
    TextPart,
)

_GUIDE = "swarmllm-guide"


class NodeBackend:
    """`client` is entered and closed by the caller."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def models(self) -> tuple[ModelChoice, ...]:
        with _spoken():
            return tuple(_choice(model) for model in await self._client.models())

    async def state(self) -> NodeState:
        with _spoken():
            return NodeState(warnings=(await self._client.status()).warnings)

    async def answer(
        self, *, model: str, said: Sequence[Said], session: str
    ) -> AsyncGenerator[AnswerPart, None]:
        messages = [Message(cast(Literal["user", "assistant"], turn.role), turn.content) for turn in said]
        stream = self._client.chat(messages, model=model, options=Options(session_id=session))
        finish = "stop"
        with _spoken():
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Text):
                        yield TextPart(text=delta.text)
                    elif isinstance(delta, Reasoning):
                        yield ReasoningPart(text=delta.text)
                    elif isinstance(delta, Finished):
                        finish = delta.reason
                    elif isinstance(delta, Usage):
                        yield Done(
                            tokens=delta.completion_tokens, seconds=delta.decode_seconds, finish=finish
                        )


def _choice(model: Model) -> ModelChoice:
    size = QLocale().formattedDataSize(model.size_bytes) if model.size_bytes else ""
    name = model.name or model.id
    return ModelChoice(
        id=model.id,
        name=name,
        detail=", ".join(filter(None, (model.architecture, model.quantization, size))),
        demonstration=model.id == _GUIDE,
    )


@contextmanager
def _spoken() -> Generator[None, None, None]:
    try:
        yield
    except ClientError as error:
        raise BackendError(error.message, code=error.code) from None
