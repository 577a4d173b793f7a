"""What the owner is told of a model in the library."""

from typing import Any

from app.core.api.answers import model_fields
from app.core.api.ports import ModelEntry


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
            }
            for shard in entry.shards
        ],
    }
