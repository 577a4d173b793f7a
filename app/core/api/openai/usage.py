"""Token counts and times, as OpenAI and llama.cpp's server report them."""

from typing import Any

from app.core.kernel.generation import Usage

NO_USAGE = Usage(prompt_tokens=0, completion_tokens=0)


def usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def timing_fields(usage: Usage) -> dict[str, Any]:
    """The `timings` extension of llama.cpp's server: counts, milliseconds, tokens a second."""
    computed = usage.prompt_tokens - usage.cached_tokens
    return {
        "cache_n": usage.cached_tokens,
        "prompt_n": computed,
        "prompt_ms": round(usage.prefill_seconds * 1000, 3),
        "prompt_per_second": _rate(computed, usage.prefill_seconds),
        "predicted_n": usage.completion_tokens,
        "predicted_ms": round(usage.decode_seconds * 1000, 3),
        "predicted_per_second": _rate(usage.completion_tokens, usage.decode_seconds),
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0
