"""What the owner is told of a model in the library."""

from typing import Any

from app.core.api.answers import model_fields
from app.core.api.ports import ModelEntry


def stored_fields(entry: ModelEntry, *, loaded: bool) -> dict[str, Any]:
    return model_fields(entry) | {
        "n_layers": entry.n_layers,
        "license": entry.license,
        "source": entry.source,
        "complete": entry.complete,
        "loaded": loaded,
    }
