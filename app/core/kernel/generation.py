"""The one internal request and the one internal stream of chunks.

Every API dialect (OpenAI, Responses, Anthropic, MCP, Ollama) translates into `ChatRequest`,
`CompletionRequest` or `EmbeddingRequest`, and translates the `Chunk`s of the answer back. Everything
below the dialects speaks only these types, whether the model runs here, on a peer or in a cloud.
"""

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "cancelled"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made. `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation, text only."""

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call. `parameters` is a JSON schema as JSON text."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is set only with mode "named"."""

    mode: Literal["none", "auto", "required", "named"] = "auto"
    name: str | None = None


class Gbnf(msgspec.Struct, frozen=True, tag="gbnf"):
    """The output must match this GBNF grammar (llama.cpp's notation)."""

    text: str


class JsonSchema(msgspec.Struct, frozen=True, tag="json_schema"):
    """The output must be JSON that matches `schema`, itself JSON text."""

    schema: str


class JsonObject(msgspec.Struct, frozen=True, tag="json_object"):
    """The output must be any JSON object."""


Grammar = Gbnf | JsonSchema | JsonObject


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. The neutral value of each option switches it off.

    `temperature` 0 is greedy, None leaves it to the model: what its file recommends, else 0.7.
    `logprobs` is None for none, else the number of alternatives per token
    (0 to 20), taken from the raw logits. `logit_bias` is added to the raw logits, keyed by token id.
    """

    temperature: float | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    logit_bias: dict[int, float] = msgspec.field(default_factory=dict)
    stop: tuple[str, ...] = ()
    max_tokens: int = 2048
    logprobs: int | None = None
    grammar: Grammar | None = None
    ignore_eos: bool = False


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation to be continued by the assistant, `n` times over.

    `session_id` groups the requests of one conversation, so that its KV cache can be found again.
    `template_options` reach the model's chat template as variables (e.g. {"enable_thinking": False}).
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    n: int = 1
    session_id: str | None = None
    template_options: dict[str, bool | int | float | str] = msgspec.field(default_factory=dict)


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Plain text (or token ids) to be continued, without a chat template."""

    model: str
    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    n: int = 1
    echo: bool = False


Pooling = Literal["mean", "last"]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts (or token ids) to be embedded. `pooling` None asks for the model's own."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None
    normalize: bool = True


class EmbeddingResult(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` is float32, row-major, `count` x `width`."""

    vectors: bytes
    count: int
    width: int
    prompt_tokens: int


class AlternativeToken(msgspec.Struct, frozen=True, array_like=True):
    """`text` is the token's bytes: a token may hold a part of a UTF-8 character."""

    token: int
    text: bytes
    logprob: float


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """Natural log of the chosen token's probability, and the most likely alternatives."""

    token: int
    text: bytes
    logprob: float
    top: tuple[AlternativeToken, ...] = ()


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """First chunk of every answer. `cached_tokens` of the prompt came from the prefix cache."""

    model: str
    prompt_tokens: int
    cached_tokens: int = 0


class TextDelta(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """More of the answer; never a part of a UTF-8 character, never a part of a stop sequence."""

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning"):
    """More of what the model thinks before it answers."""

    text: str
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    """A part of a tool call. `id` and `name` come with the first part of each call only."""

    call: int
    choice: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """A choice is complete. `stop` names the stop sequence that ended it, if one did."""

    reason: FinishReason
    choice: int = 0
    completion_tokens: int = 0
    stop: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag="usage"):
    """Last chunk of every answer that was not cut short by an error. Times in seconds."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


Chunk = Started | TextDelta | ReasoningDelta | ToolCallDelta | Finished | Usage
