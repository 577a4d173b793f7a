"""Moving averages of what was measured, as values: feeding one gives another."""

import math
from typing import Final, Self

import msgspec

SHARE: Final = 0.2
MOST_WEIGHT: Final = 16.0
PROMPT_SAMPLE: Final = 256.0
ANSWER_SAMPLE: Final = 32.0
"""Tokens that make a full sample: short requests say less, long ones more."""


class Average(msgspec.Struct, frozen=True):
    """Exponential moving average of times; `value` is 0.0 as long as `mass`, the weight of all samples, is.

    Of logarithms: times vary by factors, and one answer that took ten times as long because the machine was
    busy should not weigh more than one that took a tenth. The first samples count by their weight alone.
    """

    value: float = 0.0
    mass: float = 0.0

    def fed(self, sample: float, *, weight: float = 1.0) -> Self:
        """With one more sample. One that is not finite or not positive tells nothing and changes nothing."""
        if not (math.isfinite(sample) and sample > 0.0 and weight > 0.0):
            return self
        weight = min(weight, MOST_WEIGHT)
        mass = self.mass + weight
        if self.mass == 0.0:
            return type(self)(sample, mass)
        share = max(1.0 - (1.0 - SHARE) ** weight, weight / mass)
        return type(self)(self.value * (sample / self.value) ** share, mass)


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
