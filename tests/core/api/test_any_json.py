"""Any JSON at all either becomes a request or is refused with a field to blame."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from app.core.api.body import parse
from app.core.api.openai import translate
from app.core.api.openai.schema import ChatBody, CompletionBody, EmbeddingBody
from app.core.kernel.errors import InvalidRequest

WORDS = [
    "text",
    "user",
    "tool",
    "function",
    "type",
    "name",
    "role",
    "content",
    "schema",
    "json_schema",
    "auto",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=5)
anything = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def bodies(model: type[BaseModel], valid: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.sampled_from(sorted(model.model_fields))
    return st.dictionaries(fields, anything, max_size=4).map(lambda found: valid | found)


def check(model: type[BaseModel], body: dict[str, Any], into: Any) -> None:
    blamed = refusal(model, body, into)
    if blamed is not None:
        field = (blamed.param or "").split(".")[0].split("[")[0]
        assert field == "" or field in model.model_fields
        assert blamed.message.endswith(".")


def refusal(model: type[BaseModel], body: dict[str, Any], into: Any) -> InvalidRequest | None:
    try:
        into(parse(msgspec.json.encode(body), model))
    except InvalidRequest as error:
        return error
    return None


CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@settings(max_examples=100, deadline=None)
@given(bodies(ChatBody, CHAT))
def test_chat(body: dict[str, Any]) -> None:
    check(ChatBody, body, translate.chat_request)


@settings(max_examples=50, deadline=None)
@given(bodies(CompletionBody, {"model": "m", "prompt": "x"}))
def test_completions(body: dict[str, Any]) -> None:
    check(CompletionBody, body, translate.completion_requests)


@settings(max_examples=40, deadline=None)
@given(bodies(EmbeddingBody, {"model": "m", "input": "x"}))
def test_embeddings(body: dict[str, Any]) -> None:
    check(EmbeddingBody, body, translate.embedding_request)


@pytest.mark.parametrize("text", [b"1", b'"x"', b"[1]", b"null", b"", b"{}}"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(text, ChatBody)
