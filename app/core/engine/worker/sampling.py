"""How one choice picks its next token: a chain of llama.cpp samplers, and a grammar beside it.

A grammar is tried on the token the chain chose, and only where it refuses is the whole vocabulary
filtered and the choice made again: the filter costs milliseconds, the trial microseconds.
"""

import secrets
import time
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.llama.sampler import Candidates, Chain, GrammarSampler
from app.core.engine.worker.watch import GrammarWatch
from app.core.kernel.errors import InvalidGrammar, InvalidRequest, SwarmError
from app.core.kernel.generation import Sampling

MAX_BIASES: Final = 4096
GRAMMAR_SECONDS: Final = 0.5
"""Of the processor, for one token. An ambiguous grammar doubles its states with every character."""
_LARGE: Final = 1e6
_STRONG: Final = 100.0
DEFAULT_TEMPERATURE: Final = 0.7
_COLDEST: Final = 1e-3
"""Below this temperature the likeliest token is all that is left, so it is greedy."""
_HOTTEST: Final = 2.0
_SEEDS: Final = 1 << 32
_MAX_INT: Final = (1 << 31) - 1
_RANDOM_SEED: Final = _SEEDS - 1
_SPREAD: Final = 0x9E3779B1


class BrokenLogits(SwarmError):
    """The model computed values that are no numbers."""

    code = "bad_model_file"


class AnswerComplete(Exception):
    """The grammar allows nothing but the end of the answer."""


def seed_of(seed: int | None, choice: int) -> int:
    """The sampler's 32-bit seed: the same for the same request and choice, different between choices."""
    base = secrets.randbelow(_SEEDS) if seed is None else seed
    mixed = (base + choice * _SPREAD) % _SEEDS
    return mixed if mixed != _RANDOM_SEED else 0


def check(sampling: Sampling, n_vocab: int) -> None:
    """Raises InvalidRequest for options that llama.cpp would read out of bounds or not survive."""
    if len(sampling.logit_bias) > MAX_BIASES:
        raise InvalidRequest(f"logit_bias may name at most {MAX_BIASES} tokens.", param="logit_bias")
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < n_vocab:
            raise InvalidRequest(
                f"logit_bias names token {token}, but this model has tokens 0 to {n_vocab - 1}.",
                param="logit_bias",
            )
        _within("logit_bias", bias, -_LARGE, _LARGE)
    if sampling.temperature is not None:
        _within("temperature", sampling.temperature, -_LARGE, _LARGE)
    for name in ("top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty"):
        _within(name, getattr(sampling, name), -_LARGE, _LARGE)
    _within("repeat_penalty", sampling.repeat_penalty, 1 / _STRONG, _STRONG)
    if sampling.max_tokens < 1:
        raise InvalidRequest("max_tokens must be at least 1.", param="max_tokens")


def _within(name: str, value: float, least: float, most: float) -> None:
    # beyond these bounds float32 logits overflow, and llama.cpp does not survive NaN probabilities
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be a number from {least:g} to {most:g}.", param=name)


class Sampler:
    """The next tokens of one choice.

    `candidates` is scratch space shared by all samplers; `context_tokens` bounds what the frequency and
    presence penalties look back on (the whole answer; the repeat penalty looks back `repeat_last_n`
    tokens, the prompt's included, -1 meaning all). `watch` ends the worker if `request`'s grammar hangs.
    """

    def __init__(
        self,
        *,
        model: Model,
        candidates: Candidates,
        sampling: Sampling,
        choice: int,
        prompt: NDArray[np.int32],
        context_tokens: int,
        end_tokens: tuple[int, ...],
        gbnf: str | None,
        request: int,
        watch: GrammarWatch,
    ) -> None:
        self._candidates = candidates
        self._end_tokens = end_tokens
        self._request = request
        self._watch = watch
        self._grammar = compiled(model, gbnf) if gbnf is not None else None
        self._plain_greedy = _temperature(sampling) < _COLDEST and _neutral(sampling) and not self._grammar
        self._chain = Chain()
        if not self._plain_greedy:
            _bias(self._chain, model, sampling, end_tokens)
            _penalise(self._chain, model, sampling, prompt[-context_tokens:], context_tokens)
            _choose(self._chain, sampling, choice)
        if self._grammar:
            watch.opened()

    def close(self) -> None:
        self._chain.close()
        if self._grammar:
            self._grammar.close()
            self._grammar = None
            self._watch.closed()

    def pick(self, logits: NDArray[np.float32]) -> int:
        """The next token for `logits` [n_vocab]. Raises BrokenLogits, InvalidGrammar, AnswerComplete."""
        token = int(logits.argmax())
        # argmax finds a NaN first, so that one look tells whether all are numbers
        if not np.isfinite(logits[token]):
            raise BrokenLogits("The model computes values that are no numbers; its file is probably damaged.")
        if self._plain_greedy:
            return token
        self._candidates.fill(logits)
        self._chain.apply(self._candidates)
        token = self._candidates.selected()
        if self._grammar is not None:
            with self._watch.over(self._request):
                token = self._constrained(self._grammar, logits, token)
        self._chain.accept(token)
        return token

    def _constrained(self, grammar: GrammarSampler, logits: NDArray[np.float32], token: int) -> int:
        began = time.thread_time()
        if not grammar.allows(token, self._candidates):
            self._candidates.fill(logits)
            grammar.apply(self._candidates)
            if not self._candidates.any_left():
                raise InvalidGrammar("The grammar allows none of this model's tokens here.", param="grammar")
            self._chain.apply(self._candidates)
            token = self._candidates.selected()
            if not grammar.allows(token, self._candidates):
                raise AnswerComplete
        if token not in self._end_tokens:
            grammar.accept(token)
        if time.thread_time() - began > GRAMMAR_SECONDS:
            raise InvalidGrammar("The grammar is too ambiguous to be followed.", param="grammar")
        return token


def compiled(model: Model, gbnf: str) -> GrammarSampler:
    """The grammar, ready to run. Raises InvalidGrammar."""
    try:
        return GrammarSampler(model.vocab, gbnf)
    except ValueError as error:
        raise InvalidGrammar("llama.cpp cannot compile this grammar.", param="grammar") from error


def _neutral(sampling: Sampling) -> bool:
    return (
        not sampling.logit_bias
        and not sampling.ignore_eos
        and sampling.repeat_penalty == 1.0
        and sampling.frequency_penalty == 0.0
        and sampling.presence_penalty == 0.0
    )


def _bias(chain: Chain, model: Model, sampling: Sampling, end_tokens: tuple[int, ...]) -> None:
    biases = dict(sampling.logit_bias)
    if sampling.ignore_eos:
        biases |= dict.fromkeys(end_tokens, -np.inf)
    if biases:
        chain.logit_bias(model.n_vocab, biases)


def _penalise(
    chain: Chain, model: Model, sampling: Sampling, prompt: NDArray[np.int32], context_tokens: int
) -> None:
    last_n = context_tokens if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context_tokens)
    if sampling.repeat_penalty != 1.0 and last_n:
        repeat = chain.penalties(model.n_vocab, last_n, repeat=sampling.repeat_penalty)
        chain.remember(repeat, prompt[-last_n:])
    if sampling.frequency_penalty or sampling.presence_penalty:
        chain.penalties(
            model.n_vocab,
            context_tokens,
            frequency=sampling.frequency_penalty,
            presence=sampling.presence_penalty,
        )


def as_recommended(sampling: Sampling, model: Model) -> Sampling:
    """`sampling` with the temperature that the model's file recommends, where the request names none."""
    if sampling.temperature is not None:
        return sampling
    try:
        recommended = float(model.meta("general.sampling.temp"))
    except ValueError:
        return sampling
    sound = 0 <= recommended <= _HOTTEST
    return msgspec.structs.replace(sampling, temperature=recommended) if sound else sampling


def _temperature(sampling: Sampling) -> float:
    return DEFAULT_TEMPERATURE if sampling.temperature is None else sampling.temperature


def _choose(chain: Chain, sampling: Sampling, choice: int) -> None:
    temperature = _temperature(sampling)
    if temperature < _COLDEST:
        chain.greedy()
        return
    if sampling.top_k > 0:
        chain.top_k(min(sampling.top_k, _MAX_INT))
    if sampling.typical_p < 1:
        chain.typical(sampling.typical_p)
    if sampling.top_p < 1:
        chain.top_p(sampling.top_p)
    if sampling.min_p > 0:
        chain.min_p(sampling.min_p)
    if temperature != 1:
        chain.temperature(temperature)
    chain.random(seed_of(sampling.seed, choice))
