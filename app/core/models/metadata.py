"""A model's metadata for its owner to read, bounded whatever the file holds. Blocking, for threads."""

from pathlib import Path
from typing import Any, Final

from app.core.kernel.errors import BadModelFile
from app.core.models.architectures import architecture_of
from app.core.models.gguf.metadata import Metadata, Scalar
from app.core.models.gguf.reader import read_header
from app.core.models.manifest import Manifest

MAX_ITEMS: Final = 1_024
MAX_TEXT: Final = 65_536
MAX_TOTAL: Final = 4 << 20
_OWN: Final = ("split.", "swarm.")


def describe_metadata(manifest: Manifest, shard: Path) -> dict[str, Any]:
    """What the metadata shard at `shard` says, in plain JSON values.

    "architecture_supported" tells whether the model may be divided among nodes. Under "raw" are all fields
    except arrays of the tokenizer. Arrays of more than MAX_ITEMS items or MAX_TEXT characters have the value
    None, longer texts are cut to MAX_TEXT, and behind MAX_TOTAL characters every value is None; what was
    left out is marked as "truncated". Raises BadModelFile if the shard cannot be read.
    """
    header = read_header(shard)
    metadata, facts = header.metadata, manifest.facts
    return {
        "general": {
            "name": manifest.name,
            "architecture": facts.architecture,
            "architecture_supported": not architecture_of(facts.architecture).whole_only,
            "file_type": _lone(metadata, "general.file_type"),
            "quantization": manifest.quantization,
        },
        "model": _model(manifest, metadata),
        "tokenizer": {
            "model": _lone(metadata, "tokenizer.ggml.model"),
            "pre": _lone(metadata, "tokenizer.ggml.pre"),
            "bos_token_id": _lone(metadata, "tokenizer.ggml.bos_token_id"),
            "eos_token_id": _lone(metadata, "tokenizer.ggml.eos_token_id"),
            "padding_token_id": _lone(metadata, "tokenizer.ggml.padding_token_id"),
        },
        "tensors": {
            "count": sum(len(shard.tensors) for shard in manifest.shards),
            "data_bytes": manifest.data_bytes,
        },
        "raw": _raw(metadata),
    }


def _model(manifest: Manifest, metadata: Metadata) -> dict[str, Any]:
    facts, prefix = manifest.facts, manifest.facts.architecture + "."
    return {
        "context_length": facts.context_length,
        "block_count": facts.n_layers + facts.n_extra_layers,
        "embedding_length": facts.n_embd,
        "feed_forward_length": facts.n_ff,
        "head_count": facts.n_head,
        "head_count_kv": max(facts.n_head_kv, default=0),
        "rope_dimension_count": _lone(metadata, prefix + "rope.dimension_count"),
        "rope_freq_base": _lone(metadata, prefix + "rope.freq_base"),
        "layer_norm_rms_epsilon": _lone(metadata, prefix + "attention.layer_norm_rms_epsilon"),
        "vocab_size": facts.n_vocab,
        "expert_count": facts.n_expert,
        "parameter_count": facts.n_params,
    }


def _lone(metadata: Metadata, key: str) -> Scalar | None:
    """A single value that is not too long to be one; None otherwise."""
    try:
        value = metadata.scalar(key)
    except BadModelFile:
        return None
    return value[:MAX_ITEMS] if isinstance(value, str) else value


def _raw(metadata: Metadata) -> list[dict[str, Any]]:
    room = MAX_TOTAL
    rows: list[dict[str, Any]] = []
    for key in metadata.fields:
        count = metadata.count(key)
        if key.startswith(_OWN) or (count is not None and key.startswith("tokenizer.")):
            continue
        value, truncated = _value(metadata, key, count) if room > 0 else (None, True)
        room -= _weight(value)
        rows.append({"key": key, "value": value} | ({"truncated": True} if truncated else {}))
    return rows


def _value(metadata: Metadata, key: str, count: int | None) -> tuple[Any, bool]:
    """A field's value, and whether something of it was left out."""
    if count is None:
        return _text(metadata.scalar(key))
    if count > MAX_ITEMS:
        return None, True
    items = [_text(item) for item in metadata.array(key) or ()]
    whole = sum(len(item) for item, _ in items if isinstance(item, str)) <= MAX_TEXT
    if not whole:
        return None, True
    return [item for item, _ in items], any(cut for _, cut in items)


def _text(value: Scalar | None) -> tuple[Scalar | None, bool]:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT], True
    return value, False


def _weight(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_weight, value))
    return len(value) if isinstance(value, str) else 16
