"""Which model a name stands for. Pure."""

from collections.abc import Mapping

from app.core.kernel.errors import ModelNotFound, NotFound
from app.core.models.manifest import ShardRecord
from app.core.models.store import Stored


def find_model(models: Mapping[str, Stored], name: str) -> Stored:
    """The model with this id, display name or unambiguous beginning of an id. Raises ModelNotFound."""
    exact = models.get(name)
    if exact is not None:
        return exact
    wanted = name.strip().lower()
    for model in models.values():
        if wanted and wanted in {model.id, model.manifest.name.lower(), model.local.name.lower()}:
            return model
    start = wanted.replace(" ", "-")
    matches = [model for model in models.values() if start and model.id.startswith(start)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        options = ", ".join(sorted(model.id for model in matches))
        raise ModelNotFound(f"The name {name!r} fits several models: {options}.", param="model")
    raise ModelNotFound(f"There is no model named {name!r} on this node.", param="model")


def find_shard(model: Stored, index: int) -> ShardRecord:
    """Shard `index` of a model, whether it is here or not. Raises NotFound."""
    shards = model.manifest.shards
    if not 0 <= index < len(shards):
        raise NotFound(f"The model {model.manifest.name} has shards 0 to {len(shards) - 1}; {index} is none.")
    return shards[index]
