"""What is asked for."""

from typing import Literal

import msgspec

from app.core.scheduling.shape import Segment

Wish = Literal["off", "preferred", "required"]


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """What others may not see.

    With the embedding here, token ids of the prompt do not leave this node; with the head here too, nor do
    those of the answer. "preferred" keeps them here where this node holds what that takes; "required"
    would rather have no plan, and forbids that one peer runs the whole model. `encrypted_pipeline`
    requires both: first and last segment are here. `minimum_trust` bounds whom the request may reach.
    """

    embedding: Wish = "preferred"
    head: Wish = "preferred"
    encrypted_pipeline: bool = False
    minimum_trust: float = 0.0

    @property
    def wishes(self) -> tuple[Wish, Wish]:
        """For the embedding and for the head."""
        return ("required", "required") if self.encrypted_pipeline else (self.embedding, self.head)


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """`peer` has the KV cache of the conversation's first `tokens` tokens for exactly this segment."""

    peer: str
    part: Segment
    tokens: int


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `answer_tokens` is the length that is expected; `standbys` how many are wanted per
    segment; `cached` where the session's KV cache is, so that its turns go where they went before.
    """

    prompt_tokens: int = 512
    answer_tokens: int = 256
    privacy: Privacy = Privacy()
    cached: tuple[Cached, ...] = ()
    standbys: int = 2

    def __post_init__(self) -> None:
        if self.prompt_tokens < 0 or self.answer_tokens < 1 or self.standbys < 0:
            raise ValueError("a request has a prompt of 0 tokens or more and an answer of at least one")
