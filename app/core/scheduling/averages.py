"""Moving averages of what was measured, as values: feeding one gives another."""

import math
from typing import Final, Self

import msgspec

SHARE: Final = 0.2
MOST_WEIGHT: Final = 64.0
PROMPT_SAMPLE: Final = 256.0
ANSWER_SAMPLE: Final = 32.0
"""Tokens that make a full sample: short requests say less, long ones more."""


class Average(msgspec.Struct, frozen=True):
    """Exponential moving average of `count` samples; 0.0 as long as there is none."""

    value: float = 0.0
    count: int = 0

    def fed(self, sample: float, *, weight: float = 1.0) -> Self:
        """With one more sample, which counts as `weight` samples of the same value.

        Samples that are not finite or not positive tell nothing and leave the average as it is.
        """
        if not (math.isfinite(sample) and sample > 0.0 and weight > 0.0):
            return self
        if self.count == 0:
            return type(self)(sample, 1)
        share = 1.0 - (1.0 - SHARE) ** min(weight, MOST_WEIGHT)
        return type(self)(self.value + share * (sample - self.value), self.count + 1)


class Speeds(msgspec.Struct, frozen=True):
    """Seconds that one layer takes for one token, when generating (`decode`) and for prompts (`prefill`)."""

    decode: Average = Average()
    prefill: Average = Average()

    def after(
        self,
        *,
        decode_layers: float,
        prefill_layers: float,
        prompt_tokens: int,
        prefill_seconds: float,
        answer_tokens: int,
        decode_seconds: float,
    ) -> Self:
        """With what one request took; `prompt_tokens` are those not found in a cache.

        The layers are average ones; in decoding the output head counts by its size.
        """
        prefill, decode = self.prefill, self.decode
        if prompt_tokens > 0 and prefill_layers > 0:
            sample = prefill_seconds / (prefill_layers * prompt_tokens)
            prefill = prefill.fed(sample, weight=prompt_tokens / PROMPT_SAMPLE)
        if answer_tokens > 0 and decode_layers > 0:
            sample = decode_seconds / (decode_layers * answer_tokens)
            decode = decode.fed(sample, weight=answer_tokens / ANSWER_SAMPLE)
        return type(self)(decode, prefill)
