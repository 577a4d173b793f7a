"""Brings a window into memory: on the GPU where it fits, else on the CPU with a warning."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import psutil

from app.core.engine.messages import Load, Progress
from app.core.engine.worker.link import Link
from app.core.engine.worker.llama.capture import Capture
from app.core.engine.worker.llama.context import Context, ContextOptions
from app.core.engine.worker.llama.lib import L
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.llama.model import Model
from app.core.kernel.errors import LoadFailed, OutOfMemory
from app.core.kernel.window import Window

log = logging.getLogger(__name__)

_PROGRESS_SECONDS: Final = 0.1
MAX_OUTPUT_ROWS: Final = 64
"""Rows of logits that one batch of a slice may give: each is a whole vocabulary wide."""


MAX_CELLS: Final = 1 << 22
"""Tokens of all slots together. llama.cpp keeps some 50 bytes for each beside its keys and values, and
touches them all, before it finds out whether the rest fits."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a load brought. `load` is the command with the limits that really hold."""

    load: Load
    model: Model
    context: Context | None
    capture: Capture | None
    gpu_layers: int
    memory_bytes: int
    warning: str | None


def load_window(load: Load, *, link: Link, logs: LogRoute) -> Runtime:
    """Loads `load.window`. Raises LoadFailed or OutOfMemory."""
    if load.gpu_layers == 0 or not L.llama_supports_gpu_offload():
        return _attempt(load, 0, link, logs, None)
    try:
        return _attempt(load, load.gpu_layers, link, logs, None)
    except LoadFailed as error:
        log.warning("loading with %d layers on the GPU failed: %s", load.gpu_layers, error.message)
        warning = "The GPU's memory did not suffice for this model, so it runs on the CPU."
        return _attempt(load, 0, link, logs, warning)


def _attempt(load: Load, gpu_layers: int, link: Link, logs: LogRoute, warning: str | None) -> Runtime:
    logs.take_error()
    model = Model.load(
        load.window.files, gpu_layers=gpu_layers, progress=_progress(link), reason=logs.take_error
    )
    try:
        load = _bounded(load, model)
        before = psutil.Process().memory_info().rss
        capture = _capture(load.window)
        context = _context(model, load, capture)
        caches = max(0, psutil.Process().memory_info().rss - before)
    except BaseException:
        model.close()
        raise
    used = model.n_layers if gpu_layers < 0 else min(gpu_layers, model.n_layers)
    return Runtime(
        load=load,
        model=model,
        context=context,
        capture=capture,
        gpu_layers=used,
        memory_bytes=model.size_bytes + caches,
        warning=warning,
    )


def _bounded(load: Load, model: Model) -> Load:
    """No slot is longer than what the model was trained for, no batch longer than a slot."""
    context = load.context_tokens or model.trained_context
    if model.trained_context > 0:
        context = min(context, model.trained_context)
    if context * load.slots > MAX_CELLS:
        raise OutOfMemory(
            f"{load.slots} slots of {context} tokens are more than the {MAX_CELLS} tokens a worker can hold."
        )
    batch = max(min(load.batch_tokens, context), load.slots)
    chunk = max(1, min(load.prefill_chunk, batch))
    return msgspec.structs.replace(load, context_tokens=context, batch_tokens=batch, prefill_chunk=chunk)


def _capture(window: Window) -> Capture | None:
    if window.gives == "logits":
        return None
    if not window.capture:
        raise LoadFailed("The window gives hidden states, but does not name the tensor that holds them.")
    return Capture(window.capture)


def _context(model: Model, load: Load, capture: Capture | None) -> Context | None:
    """None for models that only embed: encoders, also those with a decoder, which wants another protocol."""
    if model.has_encoder:
        return None
    context = Context(model, _options(load, capture))
    if context.has_memory:
        return context
    context.close()
    return None


def _options(load: Load, capture: Capture | None) -> ContextOptions:
    return ContextOptions(
        tokens=load.context_tokens * load.slots,
        sequences=load.slots,
        batch=load.batch_tokens,
        outputs=_outputs(load.window, load),
        threads=load.threads,
        capture=capture.callback if capture else None,
    )


def _outputs(window: Window, load: Load) -> int:
    if window.gives == "vectors":
        return load.batch_tokens
    return load.slots if window.whole else min(load.batch_tokens, max(load.slots, MAX_OUTPUT_ROWS))


def _progress(link: Link) -> Callable[[float], None]:
    last = -1.0

    def report(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS or fraction >= 1:
            last = now
            link.put(Progress(fraction=min(max(fraction, 0.0), 1.0)))
            link.flush()

    return report
