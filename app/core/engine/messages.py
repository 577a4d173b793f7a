"""What the node and a worker process say to each other.

One frame is `[u32 header length][u32 payload length][header: msgpack][payload: raw bytes]`, little-endian
(`framing.py`). The header is one of the tagged structs below; the payload carries tensors, float32
row-major unless said otherwise, and is empty for most frames. The node sends `Command`s, the worker
`Report`s. `request` numbers are chosen by the node and are unique during a worker's life.
"""

from typing import Literal

import msgspec

from app.core.kernel.generation import (
    FinishReason,
    Message,
    Pooling,
    Sampling,
    TokenLogprob,
    Tool,
    ToolChoice,
)
from app.core.kernel.window import Window


class ChatPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="chat"):
    """A conversation, to be rendered with the model's own template by the worker."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    template_options: dict[str, bool | int | float | str] = msgspec.field(default_factory=dict)


class TextPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    text: str


class TokenPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    tokens: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


# --- node to worker -----------------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """First command a worker gets, once.

    `context_tokens` is per slot and counts prompt and answer. `slots` sequences decode side by side.
    `prefill_chunk` tokens of a waiting prompt are processed per tick while others decode, up to
    `batch_tokens` while none does.
    """

    window: Window
    context_tokens: int
    slots: int
    batch_tokens: int
    prefill_chunk: int
    threads: int
    gpu_layers: int
    prefix_cache_bytes: int


class Generate(msgspec.Struct, frozen=True, kw_only=True, tag="generate"):
    """Continue `prompt` `n` times. Answered by Started, Pieces, a Finished per choice, then Done."""

    request: int
    prompt: Prompt
    sampling: Sampling
    n: int = 1


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Ends `request` within one tick: open choices answer Finished("cancelled"), then Done."""

    request: int


class Embed(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Answered by Embeddings."""

    request: int
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None
    normalize: bool = True


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """Answered by Tokens. A ChatPrompt is rendered first."""

    request: int
    prompt: Prompt


class Forward(msgspec.Struct, frozen=True, kw_only=True, tag="forward"):
    """Run `rows` positions of `sequence` from `position` on through the window.

    Payload: float32 [rows, n_embd] for a window that takes vectors, int32 [rows] token ids otherwise.
    Answered by Hidden. `wanted` rows, counted from the end, come back (0: none, e.g. for a prefill chunk
    whose output nobody needs). Forwards of several sequences are batched in one tick; those of one
    sequence run in the order they came. A position below what the sequence holds rolls it back first.
    """

    request: int
    sequence: int
    position: int
    rows: int
    wanted: int


class EndSequence(msgspec.Struct, frozen=True, kw_only=True, tag="end_sequence"):
    """Frees what Forward kept for `sequence`. Not answered."""

    sequence: int


class SetThreads(msgspec.Struct, frozen=True, kw_only=True, tag="set_threads"):
    """Threads to use from the next tick on. Not answered."""

    decode: int
    prefill: int


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag="ping"):
    """Answered by Pong, between two ticks."""

    request: int


class Shutdown(msgspec.Struct, frozen=True, kw_only=True, tag="shutdown"):
    """End now. The worker's exit is the answer."""


Command = Load | Generate | Cancel | Embed | Tokenize | Forward | EndSequence | SetThreads | Ping | Shutdown


# --- worker to node -----------------------------------------------------------------------------------


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker learned of the model it loaded. `chat_template` is "" where the file has none."""

    name: str
    architecture: str
    n_vocab: int
    n_embd: int
    n_layers: int
    n_params: int
    size_bytes: int
    trained_context: int
    chat_template: str
    bos_token: str
    eos_token: str
    gpu_layers: int
    context_tokens: int
    slots: int
    memory_bytes: int
    pooling: Pooling | None
    threads: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Loading, from 0 to 1."""

    fraction: float


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """`warning` tells e.g. that the GPU's memory did not suffice and the CPU is used."""

    info: ModelInfo
    warning: str | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The prompt is tokenized and has its slot(s). `prompt_tail` is the end of the rendered prompt that the
    answer continues, where the template opens e.g. a <think> block that the parser must know of."""

    request: int
    prompt_tokens: int
    cached_tokens: int
    prompt_tail: str = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """More text of one choice. `tokens` are the ids it took; `logprobs` come if asked for, one a token."""

    request: int
    choice: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """One choice is complete. `stop` is the stop sequence that ended it, if one did."""

    request: int
    choice: int
    reason: FinishReason
    completion_tokens: int
    stop: str | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """Every choice of the request is finished."""

    request: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prefill_seconds: float
    decode_seconds: float


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The request ended in an error of the tree in `kernel.errors`. request 0: loading failed.

    `fatal`: the worker had to end with it.
    """

    request: int
    code: str
    message: str
    param: str | None = None
    fatal: bool = False


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, tag="embeddings"):
    """Payload: float32 [count, width]."""

    request: int
    count: int
    width: int
    prompt_tokens: int


class Tokens(msgspec.Struct, frozen=True, kw_only=True, tag="tokens_of"):
    request: int
    tokens: tuple[int, ...]


class Hidden(msgspec.Struct, frozen=True, kw_only=True, tag="hidden"):
    """Payload: float32 [rows, width]; `kind` tells hidden states from logits."""

    request: int
    rows: int
    width: int
    kind: Literal["vectors", "logits"]
    seconds: float


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong"):
    """`busy_slots` decode or prefill; `waiting` requests have no slot yet."""

    request: int
    busy_slots: int
    waiting: int
    sequences: int
    cache_entries: int
    cache_bytes: int
    resident_bytes: int


Report = Progress | Loaded | Started | Piece | Finished | Done | Failed | Embeddings | Tokens | Hidden | Pong
