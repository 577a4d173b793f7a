"""What the node's API gives and takes, as this program sees it. Unknown fields are ignored."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Options(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How to answer; what is not set is left to the node. Names and ranges are those of the API.

    `tools` and `response_format` are JSON objects in OpenAI's shape.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool | None = None
    grammar: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    reasoning_effort: str | None = None
    session_id: str | None = None


class Text(msgspec.Struct, frozen=True):
    """More of the answer."""

    text: str
    choice: int = 0


class Reasoning(msgspec.Struct, frozen=True):
    """More of what the model thinks before it answers."""

    text: str
    choice: int = 0


class ToolCallPart(msgspec.Struct, frozen=True):
    """A part of call number `index`; `id` and `name` come with its first part."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None
    choice: int = 0


class Finished(msgspec.Struct, frozen=True):
    """A choice is complete."""

    reason: str
    choice: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Last of every answer: tokens, and the seconds that the model took for them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    model: str = ""

    @property
    def tokens_per_second(self) -> float:
        return self.completion_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


Delta = Text | Reasoning | ToolCallPart | Finished | Usage


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the node can run. `builtin` is the small one that the node brings along."""

    id: str
    name: str = ""
    architecture: str = ""
    quantization: str = ""
    size_bytes: int = 0
    context_length: int = 0
    created: int = 0
    builtin: bool = False


class StoredShard(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model: layers `first_layer` up to `last_layer` if its kind is "layers".

    `state` is "present", "suspect" (changed since it was proven), "missing" or "quarantined" for a `problem`.
    """

    index: int
    kind: str = ""
    first_layer: int = 0
    last_layer: int = 0
    size_bytes: int = 0
    state: str = ""
    locked: bool = False
    problem: str = ""


class StoredModel(Model, frozen=True, kw_only=True):
    """A model in the node's library; `held_bytes` of its `size_bytes` are on this disk."""

    held_bytes: int = 0
    n_layers: int = 0
    n_params: int = 0
    license: str = ""
    source: str = ""
    complete: bool = True
    loaded: bool = False
    shards: tuple[StoredShard, ...] = ()


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory, or a part of its layers; `requests` of it are being answered."""

    model: str
    first_layer: int = 0
    last_layer: int = 0
    threads: int = 0
    memory_bytes: int = 0
    requests: int = 0
    idle_seconds: float = 0.0


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """How many are being answered, and how many wait for their turn."""

    running: int = 0
    queued: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the node is. `subsystems` tells for each part whether it works; `warnings` are sentences.

    `peers` are connected, None where the network is off.
    """

    version: str
    ready: bool
    node_id: str = ""
    started: float = 0.0
    uptime_seconds: float = 0.0
    subsystems: dict[str, bool] = {}
    warnings: tuple[str, ...] = ()
    secrets_backend: str = ""
    peers: int | None = None
    requests: Requests = Requests()
    models: tuple[Model, ...] = ()
    loaded: tuple[LoadedModel, ...] = ()


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """Requests answered since the node started. `outcomes` counts them by "ok", "cancelled" or error code."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = {}


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    system: str = ""
    machine: str = ""
    cpus: int | None = None
    memory_bytes: int = 0
    memory_available_bytes: int = 0
    node_memory_bytes: int = 0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What the node has done, and on what."""

    version: str
    uptime_seconds: float = 0.0
    inference: Inference = Inference()
    hardware: Hardware = Hardware()
    loaded: tuple[LoadedModel, ...] = ()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Layers `first_layer` up to `last_layer` and who runs them; `standbys` could take over."""

    peer: str
    here: bool = False
    first_layer: int = 0
    last_layer: int = 0
    embedding: bool = False
    head: bool = False
    loaded: bool = False
    standbys: tuple[str, ...] = ()


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A node that has a missing part, and why that does not help."""

    peer: str
    why: str = ""


class MissingPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a model that no node can run."""

    first_layer: int = 0
    last_layer: int = 0
    embedding: bool = False
    head: bool = False
    holders: tuple[Holder, ...] = ()


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant sees; `hidden_layers` are the ranges whose hidden states it computes."""

    peer: str
    here: bool = False
    text: bool = False
    prompt_tokens: bool = False
    answer_tokens: bool = False
    hidden_layers: tuple[tuple[int, int], ...] = ()


class MemoryTerm(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what a model takes in memory, in bytes, and how that comes about."""

    name: str
    size: int
    arithmetic: str = ""


class MemoryFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes in memory, and whether this node has as much."""

    needed_bytes: int = 0
    available_bytes: int = 0
    fits: bool = True
    sentence: str = ""
    terms: tuple[MemoryTerm, ...] = ()


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model would run. `placement` is "here", "peer" or "chain", None with a `problem`.

    The speeds are predictions for `prompt_tokens` and `answer_tokens`, None as long as nothing was measured.
    """

    model_id: str
    name: str = ""
    possible: bool = True
    problem: str = ""
    placement: str | None = None
    stages: tuple[Stage, ...] = ()
    round_trips: int = 0
    measured: bool = False
    tokens_per_second: float | None = None
    first_token_seconds: float | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    missing: tuple[MissingPart, ...] = ()
    who_sees: tuple[Sight, ...] = ()
    memory: MemoryFit = MemoryFit()


class ConfigRow(msgspec.Struct, frozen=True, kw_only=True):
    """An effective option and where its value came from."""

    key: str
    value: str
    source: str
    description: str = ""
