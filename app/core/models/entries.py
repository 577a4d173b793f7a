"""How the library describes a model to the rest of the node."""

from typing import Literal

import msgspec

from app.core.models.architectures import architecture_of
from app.core.models.manifest import ShardKind
from app.core.models.store import Stored

ShardState = Literal["present", "suspect", "missing", "quarantined"]


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One shard. "suspect" means that its file changed since its data was last proven.

    `problem` tells why a shard was set aside.
    """

    index: int
    kind: ShardKind
    first: int
    last: int
    size_bytes: int
    blake3: str
    state: ShardState
    locked: bool
    problem: str = ""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the library.

    `size_bytes` is what its shards take on disk when all are here, `held_bytes` what they take now.
    `created` is in unix seconds. `whole_only` is the reason why it cannot be sliced, or "". `cuts` are the
    layers where shards begin: windows that begin there use the shard files as they are.
    """

    id: str
    name: str
    architecture: str
    quantization: str
    size_bytes: int
    held_bytes: int
    n_layers: int
    n_embd: int
    n_vocab: int
    n_params: int
    context_length: int
    license: str
    source: str
    complete: bool
    created: int
    builtin: bool
    root: str
    whole_only: str
    cuts: tuple[int, ...]
    shards: tuple[ShardEntry, ...]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of the library that holds no usable model, and why."""

    folder: str
    reason: str


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Disk use in bytes. `budget` 0 means unlimited; `models` maps ids to what each takes."""

    used: int
    free: int
    budget: int
    models: dict[str, int]


def describe(stored: Stored) -> ModelEntry:
    """The entry of a stored model."""
    manifest, facts = stored.manifest, stored.manifest.facts
    shards = tuple(_shard_entry(stored, index) for index in range(len(manifest.shards)))
    return ModelEntry(
        id=stored.id,
        name=stored.local.name or manifest.name,
        architecture=facts.architecture,
        quantization=manifest.quantization,
        size_bytes=sum(shard.file_bytes for shard in manifest.shards),
        held_bytes=held_bytes(stored),
        n_layers=facts.n_layers,
        n_embd=facts.n_embd,
        n_vocab=facts.n_vocab,
        n_params=facts.n_params,
        context_length=facts.context_length,
        license=manifest.license,
        source=manifest.source.repo or manifest.source.files[0].name,
        complete=stored.complete,
        created=stored.local.created,
        builtin=stored.local.builtin,
        root=manifest.root,
        whole_only=architecture_of(facts.architecture).whole_only,
        cuts=tuple(shard.first for shard in manifest.shards if shard.kind == "layers"),
        shards=shards,
    )


def held_bytes(stored: Stored) -> int:
    """What the shards that are here take on disk."""
    return sum(stored.manifest.shards[index].file_bytes for index in stored.present)


def _shard_entry(stored: Stored, index: int) -> ShardEntry:
    shard = stored.manifest.shards[index]
    problem = stored.local.quarantined.get(shard.file, "")
    state: ShardState = "present" if index in stored.present else "missing"
    if index in stored.suspect:
        state = "suspect"
    elif state == "missing" and problem:
        state = "quarantined"
    return ShardEntry(
        index=index,
        kind=shard.kind,
        first=shard.first,
        last=shard.last,
        size_bytes=shard.file_bytes,
        blake3=shard.blake3,
        state=state,
        locked=index in stored.local.locked,
        problem=problem if state == "quarantined" else "",
    )
