"""What a worker loads: a contiguous window of a model's layers, as files that llama.cpp can mmap.

`models` makes windows out of shards, `engine` loads them; neither knows the other.
"""

from typing import Literal

import msgspec


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Layers `first` up to but not including `last` of a model with `n_layers`.

    `files` are GGUF splits in the order in which llama.cpp wants them (one file or several).
    `takes` "tokens" means the window starts at the embedding; "vectors" that it is fed hidden states,
    float32 [rows, n_embd]. `gives` "logits" means that the window ends in the output head; "vectors"
    that the tensor named `capture` is read: the hidden states behind its last real layer, float32
    [rows, n_embd], and that the graph may stop there.
    `position_rows` is 4 for M-RoPE models, whose vectors want p, p, p, 0 per row, else 1.
    `input_scale` multiplies hidden states before they enter, for architectures that scale what enters.
    `exact_rollback` is False where llama.cpp cannot remove a part of a sequence (recurrent state), so
    that a prefix can be reused only up to a point that was saved.
    """

    files: tuple[str, ...]
    architecture: str
    first: int
    last: int
    n_layers: int
    takes: Literal["tokens", "vectors"] = "tokens"
    gives: Literal["logits", "vectors"] = "logits"
    capture: str | None = None
    position_rows: int = 1
    input_scale: float = 1.0
    exact_rollback: bool = True

    @property
    def whole(self) -> bool:
        """Whether the window is the whole model, from tokens to logits."""
        return self.takes == "tokens" and self.gives == "logits"
