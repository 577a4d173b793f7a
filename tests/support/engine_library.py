"""A library of scripted models, for tests of what routes to them."""

from dataclasses import dataclass, field

from app.core.kernel.errors import ModelNotFound
from app.core.kernel.window import Window
from app.core.models.entries import ShardEntry


@dataclass
class Entry:
    id: str
    name: str
    complete: bool = True
    architecture: str = "llama"
    whole_only: str = ""
    n_layers: int = 2
    n_embd: int = 64
    size_bytes: int = 1 << 20
    held_bytes: int = 1 << 20
    shards: tuple[ShardEntry, ...] = ()


@dataclass
class Shelf:
    """`windows` by model id; `asked` counts how often each was asked for."""

    entries: list[Entry]
    windows: dict[str, Window]
    asked: list[str] = field(default_factory=list)

    def models(self) -> tuple[Entry, ...]:
        return tuple(self.entries)

    def find(self, name: str) -> Entry:
        for entry in self.entries:
            if name in {entry.id, entry.name}:
                return entry
        raise ModelNotFound(f"There is no model named {name!r} on this node.", param="model")

    async def window(self, model_id: str) -> Window:
        self.asked.append(model_id)
        return self.windows[model_id]
