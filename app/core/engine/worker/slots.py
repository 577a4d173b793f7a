"""What the worker knows of a request, and of the sequence that computes one of its choices."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.answer import Answer
from app.core.kernel.generation import Sampling


@dataclass(frozen=True, kw_only=True)
class Task:
    """A request, ready to run. `visible` are control tokens whose text the answer keeps."""

    request: int
    tokens: NDArray[np.int32]
    sampling: Sampling
    n: int = 1
    stops: tuple[str, ...] = ()
    gbnf: str | None = None
    visible: frozenset[int] = frozenset()
    prompt_tail: str = ""


@dataclass
class Progress:
    """How far a request has come. `open` are the choices that are not finished.

    `fork` is the state and the logits behind the prompt, from which the choices begin that were not there
    when it was computed.
    """

    task: Task
    open: set[int]
    cached_tokens: int = 0
    completion_tokens: int = 0
    started_at: float = 0.0
    first_token_at: float = 0.0
    fork: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None


@dataclass
class Slot:
    """A sequence of the context at work on one choice.

    `tokens[:known]` are prompt and answer so far; the context holds the first `position` of them, and
    a snapshot the first `saved`.
    """

    sequence: int
    progress: Progress
    choice: int
    answer: Answer
    tokens: NDArray[np.int32]
    known: int
    position: int = 0
    saved: int = 0
    finished: bool = field(default=False)

    @property
    def prompt_length(self) -> int:
        return len(self.progress.task.tokens)

    @property
    def prefilling(self) -> bool:
        return self.position < self.prompt_length

    def append(self, token: int) -> None:
        self.tokens[self.known] = token
        self.known += 1
