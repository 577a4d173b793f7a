"""What a stored model consists of: `manifest.json`, as docs/shards.md defines it.

A manifest is a pure function of the model's files, of the shard size and of where they came from; what
only this node knows of a model is kept apart (`local.py`). Its bytes are canonical: JSON with sorted
keys, no blanks, UTF-8. `blake3` is the hash of those bytes with `blake3` itself empty, so a manifest can
be checked wherever it comes from. `root` names the content: equal roots mean equal bytes.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from blake3 import blake3

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.types import TENSOR_TYPES, tensor_bytes

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 64 << 20
MAX_SHARDS: Final = 16_384
MAX_SHARD_BYTES: Final = 1 << 44
MAX_TEXT: Final = 200
HEADER_STEP: Final = 64 << 10
METADATA_HEADER: Final = 4 << 10
RESERVED: Final = 1_024
LONGER_NAMES: Final = 8

ShardKind = Literal["metadata", "embedding", "globals", "layers", "head"]


class FutureManifest(BadModelFile):
    """The manifest was written by a newer version; it is left as it is."""


class TensorRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor under its name in the source; `offset` counts from the shard's data region."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def size(self) -> int:
        return tensor_bytes(self.kind, self.shape)


class SourceRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`length` bytes from `start` on of the source's file number `file`."""

    file: int
    start: int
    length: int


class ShardRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard file: `header_bytes` of GGUF header, then the data region.

    The data region is the concatenation of `ranges`, each begun at a multiple of the alignment. `blake3`
    is the hash of the data region, "" as long as nobody has seen all of it. A shard of kind "layers" holds
    layers `first` up to but not including `last`; one of kind "metadata" holds `fields` metadata fields
    instead of tensors.
    """

    index: int
    kind: ShardKind
    file: str
    first: int = 0
    last: int = 0
    header_bytes: int
    data_bytes: int
    blake3: str
    ranges: tuple[SourceRange, ...]
    tensors: tuple[TensorRecord, ...] = ()
    fields: int = 0

    @property
    def file_bytes(self) -> int:
        return self.header_bytes + self.data_bytes


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: int


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the bytes come from. `repo` and `revision` are set for models of a Hugging Face hub."""

    files: tuple[SourceFile, ...]
    repo: str = ""
    revision: str = ""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What scheduling and memory estimates need to know. Per-layer tuples have `n_layers` items.

    `n_layers` leaves out blocks that only predict further tokens (`n_extra_layers`). `recurrent` layers
    keep a state of fixed size (`recurrent_bytes` per layer and sequence) instead of a KV cache, `windowed`
    ones see the last `sliding_window` positions only. `rope_sections` tells whether positions have several
    sections (M-RoPE). `embedding_scale` multiplies a row of the embedding table before it enters the first
    layer. `key_length` and `value_length` are what the KV cache holds per head; with latent
    attention (MLA) the values are a part of the keys and `value_length` is 0.
    """

    architecture: str
    n_layers: int
    n_extra_layers: int
    n_embd: int
    n_vocab: int
    context_length: int
    n_head: int
    n_head_kv: tuple[int, ...]
    key_length: int
    value_length: int
    recurrent: tuple[bool, ...]
    recurrent_bytes: int
    windowed: tuple[bool, ...]
    n_ff: int
    embedding_scale: float
    n_expert: int
    n_expert_used: int
    sliding_window: int
    n_params: int
    tied_output: bool
    rope_sections: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model."""

    format: int = FORMAT
    name: str
    quantization: str
    license: str
    source: Source
    facts: ModelFacts
    alignment: int
    shard_size: int
    shards: tuple[ShardRecord, ...]
    root: str
    blake3: str = ""

    @property
    def data_bytes(self) -> int:
        return sum(shard.data_bytes for shard in self.shards)

    def shard_of(self, kind: ShardKind) -> ShardRecord | None:
        """The only shard of a kind other than "layers"."""
        return next((shard for shard in self.shards if shard.kind == kind), None)


def header_region(tensors: Iterable[TensorRecord]) -> int:
    """Bytes to reserve for the header of a shard with `tensors`, however their blocks will be numbered."""
    needed = RESERVED + sum(
        len(tensor.name.encode()) + LONGER_NAMES + 24 + 8 * len(tensor.shape) for tensor in tensors
    )
    return -(-needed // HEADER_STEP) * HEADER_STEP


class _Versioned(msgspec.Struct, frozen=True):
    format: int


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Manifest, strict=True)
_version_decoder = msgspec.json.Decoder(_Versioned, strict=True)


def content_root(shards: tuple[ShardRecord, ...]) -> str:
    """BLAKE3 over the shards' hashes, in order: the name of a model's content, cut in this way.

    "" as long as a shard's hash is not known.
    """
    if not all(shard.blake3 for shard in shards):
        return ""
    return blake3(b"".join(bytes.fromhex(shard.blake3) for shard in shards)).hexdigest()


def seal(manifest: Manifest) -> Manifest:
    """The manifest with its own hash filled in."""
    blank = msgspec.structs.replace(manifest, blake3="")
    return msgspec.structs.replace(blank, blake3=blake3(_encoder.encode(blank)).hexdigest())


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes of a sealed manifest."""
    return _encoder.encode(manifest)


def decode(raw: bytes) -> Manifest:
    """Reads and checks a manifest.

    Raises FutureManifest for a version this program does not know, BadModelFile for anything else wrong.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BadModelFile(f"The manifest is larger than {MAX_MANIFEST_BYTES >> 20} MiB.")
    try:
        version = _version_decoder.decode(raw).format
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadModelFile(f"The manifest is damaged: {error}.") from error
    if version != FORMAT:
        raise FutureManifest(
            f"The manifest has format {version}; this version of SwarmLLM reads format {FORMAT}. "
            "A newer version wrote it, and it is left untouched."
        )
    try:
        manifest = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadModelFile(f"The manifest is damaged: {error}.") from error
    if seal(manifest).blake3 != manifest.blake3:
        raise BadModelFile("The manifest is damaged: its hash does not match its contents.")
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """A manifest may come from a stranger: what it says must hold together before it is acted on.

    Raises BadModelFile.
    """
    facts = manifest.facts
    _check_facts(facts)
    _require(len(manifest.name) <= MAX_TEXT, "its name is too long")
    alignment = manifest.alignment
    possible = 8 <= alignment <= 4_096 and alignment & (alignment - 1) == 0
    _require(possible, "its alignment is impossible")
    _require(0 < len(manifest.shards) <= MAX_SHARDS, "it has an impossible number of shards")
    layer = 0
    for index, shard in enumerate(manifest.shards):
        _check_shard(shard, index, alignment)
        if shard.kind == "layers":
            _require(shard.first == layer < shard.last, "its layers are not in order")
            layer = shard.last
    _require(layer == facts.n_layers + facts.n_extra_layers, "its shards do not hold all layers")
    kinds = [shard.kind for shard in manifest.shards if shard.kind != "layers"]
    _require(manifest.shards[0].kind == "metadata", "the metadata shard is not the first")
    _require(len(set(kinds)) == len(kinds), "it lists the wrong kinds of shards")
    embedding = manifest.shard_of("embedding")
    if embedding is not None:
        tables = [tensor.shape[1:] for tensor in embedding.tensors if tensor.name == "token_embd.weight"]
        _require(tables == [(facts.n_vocab,)], "its embedding is wrong")
    _require(content_root(manifest.shards) == manifest.root, "its root does not match its shards")


def _check_facts(facts: ModelFacts) -> None:
    per_layer = (facts.n_head_kv, facts.recurrent, facts.windowed)
    _require(all(len(values) == facts.n_layers for values in per_layer), "its facts contradict each other")
    stated = [value for value in msgspec.structs.astuple(facts) if isinstance(value, int)]
    numbers = [*stated, *facts.n_head_kv]
    _require(all(0 <= number <= MAX_SHARD_BYTES for number in numbers), "its facts are impossible")
    _require(facts.architecture.isprintable() and len(facts.architecture) <= 64, "its architecture is none")


def _check_shard(shard: ShardRecord, index: int, alignment: int) -> None:
    wrong = f"shard {index} is described wrongly"
    _require(shard.index == index and shard.file == f"{index:03d}-{shard.kind}.gguf", wrong)
    _require(min(shard.data_bytes, shard.first, shard.last, shard.fields) >= 0, wrong)
    _require(len(shard.blake3) in {0, 64} and set(shard.blake3) <= set("0123456789abcdef"), wrong)
    metadata = shard.kind == "metadata"
    least = METADATA_HEADER if metadata else header_region(shard.tensors)
    _require(least <= shard.header_bytes < least + (1 if metadata else 4_096), wrong)
    _require(metadata or shard.header_bytes % alignment == 0, wrong)
    end = 0
    for tensor in shard.tensors:
        known = tensor.kind in TENSOR_TYPES and len(tensor.shape) <= 4 and min(tensor.shape, default=1) >= 1
        _require(known and len(tensor.name) < 64, f"the tensor {tensor.name[:64]!r} is impossible")
        _require(tensor.offset == -(-end // alignment) * alignment, f"{tensor.name!r} is misplaced")
        end = tensor.offset + tensor.size
        _require(end <= MAX_SHARD_BYTES, wrong)
    _require((end == shard.data_bytes) if not metadata else not shard.tensors, wrong)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadModelFile(f"The manifest is damaged: {otherwise}.")
