"""What planning results in."""

from typing import Literal

import msgspec

from app.core.scheduling.shape import Segment

Kind = Literal["here", "peer", "chain"]
Why = Literal["unreachable", "not allowed", "not trusted", "short of memory", "available"]
Reason = Literal["missing", "whole only", "privacy", "no chain"]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A segment and who runs it. `loaded` says that its window is in memory already; `standbys` are the
    peers that could take over, the best first; `decode_seconds` is its part of a token, `prefill_seconds`
    its part of the prompt, both with the link; `start_seconds` what comes before: its queue and loading.
    """

    peer: str
    part: Segment
    loaded: bool
    start_seconds: float
    prefill_seconds: float
    decode_seconds: float
    standbys: tuple[str, ...] = ()


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant gets to see. Token ids are as good as text to whoever has the vocabulary.

    `hidden` are the layers whose hidden states it computes; of an output head alone, `(n, n)`. They are
    not confidential: much of a text can be recovered from them.
    """

    peer: str
    text: bool = False
    prompt_tokens: bool = False
    answer_tokens: bool = False
    hidden: tuple[tuple[int, int], ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request runs. "peer" means that one peer generates by itself and streams the tokens back.

    `seconds_per_token` is for each token after the first, `first_token_seconds` for that one, loading
    included; `total_seconds` is what was minimised: all that the stages take for the whole request, one
    after the other. `round_trips` are those that each token takes. `measured` is False where a speed had
    to be assumed. No plan of this kind takes less than `bound_seconds`: where peers are short of memory,
    the search for the best chain is not exhaustive, and this tells how much better one could be at most.
    """

    kind: Kind
    stages: tuple[Stage, ...]
    seconds_per_token: float
    first_token_seconds: float
    total_seconds: float
    round_trips: int
    measured: bool
    sights: tuple[Sight, ...]
    bound_seconds: float

    @property
    def exact(self) -> bool:
        """Whether there is no better plan of this kind."""
        return self.total_seconds <= self.bound_seconds * (1.0 + 1e-9)

    @property
    def tokens_per_second(self) -> float:
        return 1.0 / self.seconds_per_token


class Holder(msgspec.Struct, frozen=True):
    """A peer that has (or had) it, and why that does not help."""

    peer: str
    why: Why


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the model that nobody can run."""

    part: Segment
    holders: tuple[Holder, ...]


class NoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Why the request cannot run: parts are "missing", the model runs "whole only", this node lacks what
    "privacy" wants to be here, or everything is held but no "no chain" of it fits together.
    """

    reason: Reason
    gaps: tuple[Gap, ...] = ()

    @property
    def sentence(self) -> str:
        if self.reason == "whole only":
            return "This model cannot be split, and no node that may be used can run all of it."
        parts = "; ".join(_described(gap) for gap in self.gaps)
        if self.reason == "privacy":
            return f"What has to stay on this node is not all here: {parts}."
        if self.reason == "missing":
            return f"Parts of the model are missing: {parts}."
        return f"The nodes that hold the model cannot run it together within their memory: {parts}."


def _described(gap: Gap) -> str:
    part, names = gap.part, []
    if part.embedding:
        names.append("the embedding")
    if part.last > part.first:
        many = part.last - part.first > 1
        names.append(f"layers {part.first} to {part.last - 1}" if many else f"layer {part.first}")
    if part.head:
        names.append("the output head")
    holders = ", ".join(f"{holder.peer} ({holder.why})" for holder in gap.holders[:5])
    more = len(gap.holders) - 5
    known = (
        f"held by {holders}{f' and {more} more' if more > 0 else ''}" if holders else "held by nobody known"
    )
    return f"{', '.join(names)} ({known})"
