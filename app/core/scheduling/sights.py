"""Who sees what of a request."""

from collections.abc import Iterable

from app.core.scheduling.result import Sight
from app.core.scheduling.shape import ModelShape, Segment


def here_sees(here: str, parts: Iterable[Segment]) -> Sight:
    """The node that asks knows text and tokens anyway."""
    hidden = _layers(parts)
    return Sight(peer=here, text=True, prompt_tokens=True, answer_tokens=True, hidden=hidden)


def whole_sees(shape: ModelShape, peer: str) -> Sight:
    """A peer that runs the whole model is given the conversation itself."""
    everything = ((0, shape.n_layers),)
    return Sight(peer=peer, text=True, prompt_tokens=True, answer_tokens=True, hidden=everything)


def chain_sees(here: str, parts: Iterable[tuple[str, Segment]]) -> tuple[Sight, ...]:
    """The participants of a chain, this node first.

    Whoever embeds is sent the ids of the prompt and of each token of the answer; whoever has the head
    chooses the answer's.
    """
    by_peer: dict[str, list[Segment]] = {here: []}
    for peer, part in parts:
        by_peer.setdefault(peer, []).append(part)
    others = [
        Sight(
            peer=peer,
            prompt_tokens=any(part.embedding for part in segments),
            answer_tokens=any(part.embedding or part.head for part in segments),
            hidden=_layers(segments),
        )
        for peer, segments in by_peer.items()
        if peer != here
    ]
    return (here_sees(here, by_peer[here]), *others)


def _layers(parts: Iterable[Segment]) -> tuple[tuple[int, int], ...]:
    return tuple((part.first, part.last) for part in parts if part.last > part.first or part.head)
