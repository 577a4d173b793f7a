"""OpenAI's request bodies, as strict as OpenAI is: types exact, bounds checked, unknown fields ignored.

Follows the Chat Completions, Completions and Embeddings chapters of OpenAI's API reference (2026-11), plus
fields that local servers share: top_k, min_p, typical_p, repeat_penalty, repeat_last_n, ignore_eos, grammar
(GBNF), chat_template_kwargs, session_id. null means "not given" for every optional field.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_MESSAGES = 16_384
MAX_PARTS = 1_024
MAX_CHOICES = 16
MAX_PROMPTS = 64
MAX_PROMPT_TOKENS = 1 << 20
MAX_INPUTS = 2_048
MAX_PAIRS = 1_024
INT32 = (1 << 31) - 1
INT64 = (1 << 63) - 1

ModelName = Annotated[str, StringConstraints(max_length=256)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
TokenId = Annotated[int, Field(ge=0, le=INT32)]
Tokens = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_TOKENS, fail_fast=True)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
TokenKey = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]


def _few_pairs(value: object) -> object:
    """Pydantic counts an object's errors before its members: millions would cost gigabytes."""
    if isinstance(value, dict) and len(value) > MAX_PAIRS:
        raise ValueError(f"object should have at most {MAX_PAIRS} members")
    return value


FewPairs = BeforeValidator(_few_pairs)


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class ContentPart(Body):
    """One part of a message. Only "text" and "refusal" parts can be carried out so far."""

    type: Literal["text", "refusal", "image_url", "input_audio", "file"]
    text: str | None = None
    refusal: str | None = None


Content = str | Annotated[list[ContentPart], Field(max_length=MAX_PARTS, fail_fast=True)]


class CalledFunction(Body):
    name: Annotated[str, StringConstraints(max_length=128)]
    arguments: str


class MessageToolCall(Body):
    id: Annotated[str, StringConstraints(max_length=256)]
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Body):
    """One turn. "developer" is OpenAI's newer word for "system"."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[MessageToolCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_call_id: Annotated[str, StringConstraints(max_length=256)] | None = None
    name: Annotated[str, StringConstraints(max_length=256)] | None = None


class Function(Body):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: str


class NamedToolChoice(Body):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Body):
    include_usage: bool | None = None


class SchemaFormat(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class SamplingBody(Body):
    """What chat and plain completions have in common."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16, fail_fast=True)] | None = None
    max_tokens: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Field(ge=0, le=INT32)] | None = None
    min_p: Fraction | None = None
    typical_p: Fraction | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Field(ge=0, le=65_536)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-INT64 - 1, le=INT64)] | None = None
    logit_bias: Annotated[dict[TokenKey, Bias], FewPairs] | None = None
    ignore_eos: bool | None = None
    grammar: Annotated[str, StringConstraints(min_length=1, max_length=65_536)] | None = None
    user: str | None = None


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[Any], Field(max_length=128)] | None = None
    modalities: Annotated[list[Literal["text", "audio"]], Field(max_length=2, fail_fast=True)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    chat_template_kwargs: Annotated[dict[str, bool | int | float | str], FewPairs] | None = None
    session_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None


class CompletionBody(SamplingBody):
    """POST /v1/completions."""

    prompt: (
        str
        | Tokens
        | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
        | Annotated[list[Tokens], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
    )
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    suffix: str | None = None
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None


class EmbeddingBody(Body):
    """POST /v1/embeddings."""

    model: ModelName
    input: (
        str
        | Tokens
        | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)]
        | Annotated[list[Tokens], Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=INT32)] | None = None
    user: str | None = None
