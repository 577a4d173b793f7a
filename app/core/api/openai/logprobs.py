"""Log probabilities in the shapes of the chat and of the legacy completions endpoint."""

import math
from collections.abc import Sequence
from typing import Any

from app.core.kernel.generation import AlternativeToken, TokenLogprob

LEAST = -9999.0
"""What OpenAI reports for a token that cannot be: JSON knows no infinity."""


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """The entries of `logprobs.content`."""
    return [_entry(token) | {"top_logprobs": [_entry(other) for other in token.top]} for token in tokens]


def _entry(token: TokenLogprob | AlternativeToken) -> dict[str, Any]:
    return {"token": _shown(token.text), "logprob": _finite(token.logprob), "bytes": list(token.text)}


class LegacyLogprobs:
    """The four parallel lists of the completions endpoint; offsets count characters from the text's start,
    of which the first `echoed` are the prompt's."""

    def __init__(self, echoed: int) -> None:
        self._offset = echoed

    def take(self, tokens: Sequence[TokenLogprob]) -> dict[str, list[Any]]:
        """The lists for `tokens`, which follow those of the calls before."""
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(_shown(token.text))
        return {
            "tokens": [_shown(token.text) for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [
                {_shown(other.text): _finite(other.logprob) for other in token.top} for token in tokens
            ],
            "text_offset": offsets,
        }


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else LEAST
