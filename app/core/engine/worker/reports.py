"""What the worker knows, as the reports that the node reads."""

import time

from app.core.engine.messages import Done, Failed, Piece, Started
from app.core.engine.worker.answer import Text
from app.core.engine.worker.slots import Progress
from app.core.kernel.errors import SwarmError


def failed(request: int, error: SwarmError) -> Failed:
    return Failed(request=request, code=error.code, message=error.message, param=error.param)


def started(progress: Progress) -> Started:
    return Started(
        request=progress.task.request,
        prompt_tokens=len(progress.task.tokens),
        cached_tokens=progress.cached_tokens,
        prompt_tail=progress.task.prompt_tail,
    )


def piece(request: int, choice: int, text: Text) -> Piece:
    return Piece(
        request=request,
        choice=choice,
        text=text.text,
        tokens=tuple(taken.token for taken in text.tokens),
        logprobs=tuple(taken.logprob for taken in text.tokens if taken.logprob is not None),
    )


def done(progress: Progress) -> Done:
    """Prefill lasts from the slot to the first token, decode from there to now."""
    now = time.monotonic()
    first = progress.first_token_at or now
    return Done(
        request=progress.task.request,
        prompt_tokens=len(progress.task.tokens),
        cached_tokens=progress.cached_tokens,
        completion_tokens=progress.completion_tokens,
        prefill_seconds=first - (progress.started_at or first),
        decode_seconds=now - first,
    )
