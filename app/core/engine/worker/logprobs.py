"""Log-probabilities of the raw logits, as OpenAI's API defines them: a softmax at temperature 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.core.kernel.generation import AlternativeToken, TokenLogprob


def token_logprob(
    logits: NDArray[np.float32], token: int, *, top: int, piece: Callable[[int], bytes]
) -> TokenLogprob:
    """Natural log of the probability of `token` and of the `top` likeliest, most likely first.

    `logits` is [n_vocab]. `piece` gives a token's bytes.
    """
    wide = logits.astype(np.float64)
    peak = wide.max()
    log_sum = float(peak + np.log(np.exp(wide - peak).sum()))
    return TokenLogprob(
        token,
        piece(token),
        float(wide[token]) - log_sum,
        tuple(AlternativeToken(i, piece(i), float(wide[i]) - log_sum) for i in _likeliest(wide, top)),
    )


def _likeliest(values: NDArray[np.float64], count: int) -> list[int]:
    count = min(count, len(values))
    if count <= 0:
        return []
    picked = np.argpartition(values, -count)[-count:]
    order = np.lexsort((picked, -values[picked]))
    return [int(i) for i in picked[order]]
