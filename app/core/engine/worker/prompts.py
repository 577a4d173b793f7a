"""From the prompt of a command to token ids, and to everything else that a chat template decides."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.engine import chat
from app.core.engine.messages import ChatPrompt, Generate, Prompt, TextPrompt
from app.core.engine.worker import gbnf, grammar, schema
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.sampling import as_recommended, check, compiled
from app.core.engine.worker.slots import Task
from app.core.kernel.errors import ContextOverflow, InvalidRequest

MAX_CHOICES: Final = 128
TAIL: Final = 256
"""Characters of the rendered prompt that come back with Started."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A prompt as token ids, with what the template adds to the answer's rules."""

    tokens: NDArray[np.int32]
    stops: tuple[str, ...] = ()
    gbnf: str | None = None
    visible: frozenset[int] = frozenset()
    tail: str = ""


class Prompter:
    """Renders and tokenizes for one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._template = model.chat_template()
        self._bos = _text(model, model.bos)
        self._eos = _text(model, model.eos)

    def task(self, command: Generate, *, context_tokens: int) -> Task:
        """Raises InvalidRequest, InvalidGrammar or ContextOverflow for what cannot be run."""
        if not 1 <= command.n <= MAX_CHOICES:
            raise InvalidRequest(f"n must be 1 to {MAX_CHOICES}.", param="n")
        check(command.sampling, self._model.n_vocab)
        rendered = self.render(command.prompt)
        if len(rendered.tokens) >= context_tokens:
            raise ContextOverflow(
                f"The prompt has {len(rendered.tokens)} tokens, but this model's context holds "
                f"{context_tokens} tokens for prompt and answer together.",
                param="messages" if isinstance(command.prompt, ChatPrompt) else "prompt",
            )
        return Task(
            request=command.request,
            tokens=rendered.tokens,
            sampling=as_recommended(command.sampling, self._model),
            n=command.n,
            stops=(*command.sampling.stop, *rendered.stops),
            gbnf=self._grammar(command, rendered),
            visible=rendered.visible,
            prompt_tail=rendered.tail,
        )

    def render(self, prompt: Prompt) -> Rendered:
        if isinstance(prompt, ChatPrompt):
            return self._chat(prompt)
        if isinstance(prompt, TextPrompt):
            tokens = self._model.tokenize(prompt.text, add_special=True, parse_special=True)
        else:
            tokens = self.checked(prompt.tokens)
        if not len(tokens):
            raise InvalidRequest("The prompt is empty.", param="prompt")
        return Rendered(tokens=tokens)

    def checked(self, tokens: tuple[int, ...], *, param: str = "prompt") -> NDArray[np.int32]:
        """Raises InvalidRequest for ids that are not in the vocabulary."""
        if tokens and not (min(tokens) >= 0 and max(tokens) < self._model.n_vocab):
            raise InvalidRequest(
                f"The prompt has token ids outside of 0 to {self._model.n_vocab - 1}.", param=param
            )
        return np.array(tokens, np.int32)

    def _chat(self, prompt: ChatPrompt) -> Rendered:
        prepared = chat.prepare(
            self._template,
            bos_token=self._bos,
            eos_token=self._eos,
            messages=prompt.messages,
            tools=prompt.tools,
            tool_choice=prompt.tool_choice,
            parallel_tool_calls=prompt.parallel_tool_calls,
            options=prompt.template_options,
        )
        text = prepared.text
        has_bos = bool(self._bos) and text.startswith(self._bos)
        tokens = self._model.tokenize(text, add_special=not has_bos, parse_special=True)
        if not len(tokens):
            raise InvalidRequest("The conversation renders to an empty prompt.", param="messages")
        rules = None
        if prepared.tool_grammar is not None:
            rules = chat.grammar(prepared.tool_grammar, json_schema_to_gbnf=schema.to_gbnf)
        return Rendered(
            tokens=tokens,
            stops=prepared.stops,
            gbnf=rules,
            visible=self._single_tokens(prepared.preserved),
            tail=text[-TAIL:],
        )

    def _single_tokens(self, markers: tuple[str, ...]) -> frozenset[int]:
        found = set()
        for marker in markers:
            tokens = self._model.tokenize(marker, add_special=False, parse_special=True)
            if len(tokens) == 1:
                found.add(int(tokens[0]))
        return frozenset(found)

    def _grammar(self, command: Generate, rendered: Rendered) -> str | None:
        asked = command.sampling.grammar
        text = rendered.gbnf
        if text is not None:
            gbnf.check(text)
        elif asked is not None:
            text = grammar.to_gbnf(asked)
        if text is not None:
            compiled(self._model, text).close()
        return text

    @property
    def bos_token(self) -> str:
        return self._bos

    @property
    def eos_token(self) -> str:
        return self._eos

    @property
    def template(self) -> str:
        return self._template


def _text(model: Model, token: int) -> str:
    return model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
