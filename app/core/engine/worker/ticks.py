"""How many prompt tokens of which slot go into the next tick. Pure."""

from collections.abc import Sequence


def plan_tick(*, decoding: int, waiting: Sequence[int], chunk: int, batch: int) -> tuple[int, ...]:
    """Prompt tokens per prefilling slot, in the order of `waiting`, which tells how many each still needs.

    Every decoding slot takes one row. While any decodes, prompts share `chunk` rows, so that the others'
    next token is not kept waiting; else they share the whole `batch`. Shares are equal; what a short
    prompt does not need goes to the others. Where there are fewer rows than prompts the first ones get
    them, so callers rotate `waiting`.
    """
    room = min(chunk, batch - decoding) if decoding else batch
    shares = [0] * len(waiting)
    needy = [i for i, need in enumerate(waiting) if need > 0]
    while room > 0 and needy:
        share = max(1, room // len(needy))
        for i in needy:
            given = min(share, waiting[i] - shares[i], room)
            shares[i] += given
            room -= given
        needy = [i for i in needy if shares[i] < waiting[i]]
    return tuple(shares)
