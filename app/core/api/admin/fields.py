"""What the owner is told of a model in the library."""

from typing import Any

from app.core.api.answers import model_fields
from app.core.api.ports import Library, ModelEntry
from app.core.kernel.errors import ModelNotFound


def named_in_full(library: Library, wanted: str) -> ModelEntry:
    """The model whose id or name is `wanted`: a beginning is not enough to delete something."""
    entry = library.find(wanted)
    if wanted.lower() not in (entry.id.lower(), entry.name.lower()):
        raise ModelNotFound(f"To remove the model '{entry.id}', give its whole id.", param="id")
    return entry


def stored_fields(entry: ModelEntry, *, loaded: bool) -> dict[str, Any]:
    return model_fields(entry) | {
        "held_bytes": entry.held_bytes,
        "n_layers": entry.n_layers,
        "n_params": entry.n_params,
        "license": entry.license,
        "source": entry.source,
        "complete": entry.complete,
        "loaded": loaded,
        "shards": [
            {
                "index": shard.index,
                "kind": shard.kind,
                "first_layer": shard.first,
                "last_layer": shard.last,
                "size_bytes": shard.size_bytes,
                "state": shard.state,
                "locked": shard.locked,
                "problem": shard.problem,
            }
            for shard in entry.shards
        ],
    }
