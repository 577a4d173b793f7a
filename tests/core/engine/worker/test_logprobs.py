"""Log-probabilities against a softmax written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.engine.worker.logprobs import token_logprob

rows = arrays(np.float32, st.integers(1, 50), elements=st.floats(-80, 80, width=32))


@given(rows, st.integers(0, 20), st.integers(0, 1000))
def test_they_are_the_log_of_the_softmax_and_the_likeliest_come_first(
    logits: np.ndarray, top: int, pick: int
) -> None:
    token = pick % len(logits)
    wide = logits.astype(np.float64)
    expected = wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())
    got = token_logprob(logits, token, top=top, piece=lambda t: str(t).encode())
    assert np.isclose(got.logprob, expected[token], atol=1e-9)
    assert [alternative.logprob for alternative in got.top] == sorted(
        (alternative.logprob for alternative in got.top), reverse=True
    )
    assert len(got.top) == min(top, len(logits))
    best = np.sort(expected)[::-1][: len(got.top)]
    np.testing.assert_allclose([alternative.logprob for alternative in got.top], best, atol=1e-9)
    assert got.text == str(token).encode()


def test_ruled_out_tokens_have_no_probability() -> None:
    got = token_logprob(np.array([0.0, -np.inf], np.float32), 0, top=2, piece=lambda _: b"")
    assert got.logprob == 0.0
    assert got.top[1].logprob == -np.inf
