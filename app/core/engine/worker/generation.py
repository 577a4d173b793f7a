"""Continuous batching: every tick runs one batch with a row of each decoding slot and prompt tokens of the
others, then lets every slot that has logits take its next token.

Requests wait first come, first served; a request's further choices begin from the state its prompt left,
before any younger request.
"""

import logging
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from app.core.engine.messages import Finished, Load
from app.core.engine.worker import reports
from app.core.engine.worker.answer import Answer, Step, Text
from app.core.engine.worker.cache import PrefixCache
from app.core.engine.worker.link import Link
from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.context import Context
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.llama.sampler import Candidates
from app.core.engine.worker.prefix import BLOCK
from app.core.engine.worker.sampling import Sampler
from app.core.engine.worker.slots import Progress, Slot, Task
from app.core.engine.worker.ticks import plan_tick
from app.core.engine.worker.watch import GrammarWatch
from app.core.kernel.errors import SwarmError
from app.core.kernel.generation import FinishReason

log = logging.getLogger(__name__)


def _sequence(slot: Slot) -> int:
    return slot.sequence


class Generator:
    """Runs the tasks of a whole model. `tick` is called as long as `busy`."""

    def __init__(self, *, model: Model, context: Context, cache: PrefixCache, load: Load, link: Link) -> None:
        self._watch = GrammarWatch(give_up=link.last_word)
        self._model = model
        self._context = context
        self._cache = cache
        self._load = load
        self._link = link
        self._batch = Batch(load.batch_tokens)
        self._candidates = Candidates(model.n_vocab)
        self._end_tokens = tuple(model.end_tokens())
        self._free = set(range(load.slots))
        self._slots: list[Slot] = []
        self._queue: deque[tuple[Progress, int]] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._slots or self._queue)

    @property
    def busy_slots(self) -> int:
        return len(self._slots)

    @property
    def waiting(self) -> int:
        """Requests of which no choice has a slot yet."""
        return sum(choice == 0 for _, choice in self._queue)

    def submit(self, task: Task) -> None:
        self._queue.append((Progress(task, open=set(range(task.n))), 0))

    def cancel(self, request: int) -> None:
        """Ends `request`, whether it runs or waits. Nothing happens if it is over already."""
        for slot in self._slots:
            if slot.progress.task.request == request and not slot.finished:
                self._finish(slot, "cancelled", slot.answer.cut())
                self._cancel_rest(slot.progress)
        for progress, _ in [entry for entry in self._queue if entry[0].task.request == request]:
            self._cancel_rest(progress)
        self._queue = deque(entry for entry in self._queue if entry[0].open)
        self._sweep()

    def _cancel_rest(self, progress: Progress) -> None:
        """Closes the choices of a cancelled request that have no slot."""
        running = {slot.choice for slot in self._slots if slot.progress is progress}
        for choice in sorted(progress.open - running):
            self._close_choice(progress, choice, "cancelled", 0, None)

    # --- one tick ---

    def tick(self) -> None:
        self._admit()
        self._close_gap()
        rows = self._fill_batch()
        if not rows:
            return
        code = self._context.decode(self._batch)
        if code:
            self._give_up([slot for slot, _, _ in rows], code)
            return
        prefilled = []
        for slot, count, row in rows:
            was_prefilling = slot.prefilling
            slot.position += count
            if row >= 0 and not slot.finished:
                self._advance(slot, self._context.logits(row), first=was_prefilling)
            if was_prefilling:
                prefilled.append(slot)
        self._link.flush()
        for slot in prefilled:
            self._save_prompt(slot)
        self._sweep()

    def _fill_batch(self) -> list[tuple[Slot, int, int]]:
        """Fills the batch; answers (slot, its tokens in the batch, the row of its logits or -1)."""
        batch = self._batch
        batch.clear()
        decoding = [slot for slot in self._slots if not slot.prefilling]
        waiting = [slot for slot in self._slots if slot.prefilling]
        counts = plan_tick(
            decoding=len(decoding),
            waiting=[self._next_stop(slot) - slot.position for slot in waiting],
            chunk=self._load.prefill_chunk,
            batch=self._load.batch_tokens,
        )
        shares = {slot.sequence: count for slot, count in zip(waiting, counts, strict=True)}
        rows = [
            self._add_rows(slot, count)
            for slot in sorted(self._slots, key=_sequence)
            if (count := shares.get(slot.sequence, 1))
        ]
        if waiting:
            self._slots = [*decoding, *waiting[1:], waiting[0]]
        return rows

    def _add_rows(self, slot: Slot, count: int) -> tuple[Slot, int, int]:
        start, batch = slot.position, self._batch
        if count == 1 and not slot.prefilling:
            return slot, 1, batch.add(int(slot.tokens[start]), start, slot.sequence)
        complete = start + count == slot.prompt_length
        end = batch.extend(slot.tokens[start : start + count], start, slot.sequence, wanted=int(complete))
        return slot, count, end - 1 if complete else -1

    def _next_stop(self, slot: Slot) -> int:
        """Where this prefill pauses: at the prompt's end, or before it at the last block border where a state
        that cannot be cut must be saved."""
        if self._cache.exact or slot.prompt_length <= BLOCK:
            return slot.prompt_length
        border = (slot.prompt_length - 1) // BLOCK * BLOCK
        return border if slot.position < border else slot.prompt_length

    def _save_prompt(self, slot: Slot) -> None:
        if slot.finished:
            return
        at_border = not self._cache.exact and slot.position % BLOCK == 0
        if slot.position == slot.prompt_length or at_border:
            self._save(slot)

    def _save(self, slot: Slot) -> None:
        if self._cache.worth_saving(slot.position, slot.saved):
            self._cache.save(slot.sequence, slot.tokens[: slot.position])
            slot.saved = slot.position

    # --- slots ---

    def _admit(self) -> None:
        while self._free and self._queue:
            progress, choice = self._queue.popleft()
            try:
                self._start(progress, choice)
            except SwarmError as error:
                self._fail(progress, error)
            self._sweep()

    def _start(self, progress: Progress, choice: int) -> None:
        answer = self._make_answer(progress.task, choice)
        tokens = progress.task.tokens
        room = np.empty(self._load.context_tokens + 1, np.int32)
        room[: len(tokens)] = tokens
        slot = Slot(self._lowest_free(), progress, choice, answer, room, known=len(tokens))
        self._slots.append(slot)
        if progress.fork is not None and choice:
            self._begin_from_fork(slot, *progress.fork)
            return
        progress.started_at = time.monotonic()
        slot.position = slot.saved = self._cache.restore(slot.sequence, tokens)
        if not choice:
            progress.cached_tokens = slot.position
            self._link.put(reports.started(progress))

    def _lowest_free(self) -> int:
        sequence = min(self._free)
        self._free.remove(sequence)
        return sequence

    def _close_gap(self) -> None:
        """Moves the last sequence into a gap that a finished one left: only consecutive ones share a pass."""
        if len(self._slots) < 2:
            return
        first, last = min(self._slots, key=_sequence), max(self._slots, key=_sequence)
        if last.sequence - first.sequence == len(self._slots) - 1:
            return
        gap = min(sequence for sequence in self._free if sequence > first.sequence)
        if self._context.import_state(gap, self._context.export_state(last.sequence)):
            self._context.remove(last.sequence)
            self._free.remove(gap)
            self._free.add(last.sequence)
            last.sequence = gap

    def _begin_from_fork(self, slot: Slot, state: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
        if self._context.import_state(slot.sequence, state):
            slot.position = slot.saved = slot.prompt_length
            self._advance(slot, logits, first=False)
        # else the prompt is computed once more

    def _make_answer(self, task: Task, choice: int) -> Answer:
        sampler = Sampler(
            model=self._model,
            candidates=self._candidates,
            sampling=task.sampling,
            choice=choice,
            prompt=task.tokens,
            context_tokens=self._load.context_tokens,
            end_tokens=self._end_tokens,
            gbnf=task.gbnf,
            request=task.request,
            watch=self._watch,
        )
        return Answer(
            model=self._model,
            sampler=sampler,
            sampling=task.sampling,
            stops=task.stops,
            room=min(task.sampling.max_tokens, self._load.context_tokens - len(task.tokens)),
            visible=task.visible,
        )

    def _advance(self, slot: Slot, logits: NDArray[np.float32], *, first: bool) -> None:
        if first and slot.choice == 0:
            self._open_further_choices(slot, logits)
        try:
            step = slot.answer.take(logits)
        except SwarmError as error:
            self._fail(slot.progress, error)
            return
        self._report(slot, step)

    def _open_further_choices(self, slot: Slot, logits: NDArray[np.float32]) -> None:
        progress = slot.progress
        progress.first_token_at = time.monotonic()
        if progress.task.n > 1:
            progress.fork = (self._context.export_state(slot.sequence), logits.copy())
            self._queue.extendleft((progress, choice) for choice in range(progress.task.n - 1, 0, -1))

    def _report(self, slot: Slot, step: Step) -> None:
        if step.reason is not None:
            self._finish(slot, step.reason, step.text)
            return
        if step.text is not None:
            self._put_piece(slot, step.text)
        if step.token is not None:
            slot.append(step.token)

    def _put_piece(self, slot: Slot, text: Text) -> None:
        self._link.put(reports.piece(slot.progress.task.request, slot.choice, text))

    # --- endings ---

    def _finish(self, slot: Slot, reason: FinishReason, text: Text | None) -> None:
        if text is not None and (text.text or text.tokens):
            self._put_piece(slot, text)
        slot.finished = True
        stop = text.stop if text is not None else None
        self._close_choice(slot.progress, slot.choice, reason, slot.answer.count, stop)

    def _close_choice(
        self, progress: Progress, choice: int, reason: FinishReason, count: int, stop: str | None
    ) -> None:
        request = progress.task.request
        finished = Finished(request=request, choice=choice, reason=reason, completion_tokens=count, stop=stop)
        self._link.put(finished)
        progress.completion_tokens += count
        progress.open.discard(choice)
        if not progress.open:
            self._link.put(reports.done(progress))

    def _fail(self, progress: Progress, error: SwarmError) -> None:
        """Ends the whole request, every choice of it."""
        for slot in self._slots:
            if slot.progress is progress:
                slot.finished = True
                slot.saved = slot.position  # what failed is not kept for others
        self._queue = deque(entry for entry in self._queue if entry[0] is not progress)
        self._link.put(reports.failed(progress.task.request, error))

    def _give_up(self, slots: list[Slot], code: int) -> None:
        log.error("llama_decode failed with code %d for %d sequences", code, len(slots))
        error = SwarmError(f"llama.cpp could not compute the next tokens (code {code}).")
        for progress in {id(slot.progress): slot.progress for slot in slots}.values():
            self._fail(progress, error)
        self._sweep()

    def _sweep(self) -> None:
        """Frees the slots that are finished, keeping what they computed for later prompts."""
        for slot in [slot for slot in self._slots if slot.finished]:
            self._link.flush()
            self._slots.remove(slot)
            self._save(slot)
            slot.answer.close()
            self._context.remove(slot.sequence)
            self._free.add(slot.sequence)
