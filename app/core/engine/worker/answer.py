"""One choice of a request: which token comes next, what text may be shown, and when it is over."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.logprobs import token_logprob
from app.core.engine.worker.sampling import AnswerComplete, Sampler
from app.core.engine.worker.text import Emitted, TextStream
from app.core.kernel.generation import FinishReason, Sampling, TokenLogprob


@dataclass(frozen=True)
class Taken:
    """A token and, where they were asked for, its log-probabilities."""

    token: int
    logprob: TokenLogprob | None


Text = Emitted[Taken]


@dataclass(frozen=True)
class Step:
    """What one row of logits brought: a token to go on with (None: the answer is over), and text."""

    token: int | None
    text: Text | None = None
    reason: FinishReason | None = None


class Answer:
    """`room` is how many tokens the answer may have; `visible` are control tokens that are shown as text."""

    def __init__(
        self,
        *,
        model: Model,
        sampler: Sampler,
        sampling: Sampling,
        stops: tuple[str, ...],
        room: int,
        visible: AbstractSet[int],
    ) -> None:
        self._model = model
        self._sampler = sampler
        self._logprobs = sampling.logprobs
        self._room = room
        self._visible = visible
        self._stream: TextStream[Taken] = TextStream(stops)
        self.count = 0

    def close(self) -> None:
        self._sampler.close()

    def take(self, logits: NDArray[np.float32]) -> Step:
        """Picks the next token from `logits` [n_vocab]. Raises BrokenLogits and InvalidGrammar."""
        try:
            token = self._sampler.pick(logits)
        except AnswerComplete:
            return self._end("stop")
        if self._model.is_end(token):
            return self._end("stop")
        self.count += 1
        text = self._stream.feed(self._piece(token), Taken(token, self._logprob(logits, token)))
        if text is not None and text.stop is not None:
            return Step(None, text, "stop")
        if self.count >= self._room:
            return self._end("length", before=text)
        return Step(token, text)

    def cut(self) -> Text:
        """What is still held back, for an answer that somebody else ends."""
        return self._stream.finish()

    def _end(self, reason: FinishReason, before: Text | None = None) -> Step:
        rest = self._stream.finish()
        if before is not None:
            rest = Emitted(text=before.text + rest.text, tokens=before.tokens + rest.tokens)
        return Step(None, rest, reason)

    def _piece(self, token: int) -> bytes:
        return self._model.piece(token, special=token in self._visible)

    def _logprob(self, logits: NDArray[np.float32], token: int) -> TokenLogprob | None:
        if self._logprobs is None:
            return None
        return token_logprob(
            logits, token, top=self._logprobs, piece=lambda t: self._model.piece(t, special=True)
        )
