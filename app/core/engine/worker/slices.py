"""Layer slices: hidden states (or token ids) of several sequences in, hidden states (or logits) out.

A batch holds runs of equal length only, sorted by sequence: llama.cpp reorders others, and what is
captured comes in its order.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.engine.messages import Forward, Hidden, Load
from app.core.engine.worker.link import Link
from app.core.engine.worker.llama.batch import Batch
from app.core.engine.worker.llama.capture import Capture
from app.core.engine.worker.llama.context import Context
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.loading import MAX_OUTPUT_ROWS
from app.core.engine.worker.reports import failed
from app.core.kernel.errors import ContextOverflow, InvalidRequest, Overloaded, SwarmError, Unsupported

log = logging.getLogger(__name__)

_MAX_PENDING: Final = 4096


@dataclass
class _Run:
    """A Forward at work: `done` of its rows are computed, `parts` are the wanted rows so far."""

    command: Forward
    rows: NDArray[np.float32] | NDArray[np.int32]
    done: int = 0
    seconds: float = 0.0
    parts: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.command.rows - self.done

    def wanted_of(self, count: int) -> int:
        """How many of the next `count` rows are wanted."""
        first_wanted = self.command.rows - self.command.wanted
        return max(0, min(count, self.done + count - first_wanted))


class Forwarder:
    """Runs Forwards through a window. `tick` is called as long as `busy`."""

    def __init__(
        self, *, model: Model, context: Context, capture: Capture | None, load: Load, link: Link
    ) -> None:
        window = load.window
        self._model = model
        self._context = context
        self._capture = capture
        self._load = load
        self._window = window
        self._link = link
        self._takes_vectors = window.takes == "vectors"
        self._batch = Batch(
            load.batch_tokens,
            width=model.n_embd if self._takes_vectors else 0,
            position_rows=window.position_rows if self._takes_vectors else 1,
        )
        self._free = set(range(load.slots))
        self._sequences: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._pending: deque[_Run] = deque()

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    @property
    def sequences(self) -> int:
        return len(self._sequences)

    def submit(self, command: Forward, payload: bytearray) -> None:
        """Queues a Forward. Raises InvalidRequest, ContextOverflow or Overloaded."""
        if len(self._pending) >= _MAX_PENDING:
            raise Overloaded("Too many forwards are waiting in this worker.")
        if not 0 <= command.wanted <= command.rows or command.rows < 1 or command.position < 0:
            raise InvalidRequest("A forward needs at least one row and cannot want more rows than it has.")
        if command.position + command.rows > self._load.context_tokens:
            raise ContextOverflow(
                f"The sequence would have {command.position + command.rows} positions, but the context holds "
                f"{self._load.context_tokens}."
            )
        self._pending.append(_Run(command, self._parsed(command, payload)))

    def end(self, sequence: int) -> None:
        """Frees what is held for `sequence`; a Forward of it that waits starts it anew."""
        slot = self._sequences.pop(sequence, None)
        if slot is not None:
            self._held.pop(sequence, None)
            self._context.remove(slot)
            self._free.add(slot)

    def cancel(self, request: int) -> None:
        self._pending = deque(run for run in self._pending if run.command.request != request)

    def _parsed(self, command: Forward, payload: bytearray) -> NDArray[np.float32] | NDArray[np.int32]:
        width = self._model.n_embd if self._takes_vectors else 1
        if len(payload) != command.rows * width * 4:
            raise InvalidRequest(
                f"{command.rows} rows take {command.rows * width * 4} bytes here, not {len(payload)}."
            )
        if not self._takes_vectors:
            tokens = np.frombuffer(payload, np.int32)
            if tokens.min() < 0 or tokens.max() >= self._model.n_vocab:
                raise InvalidRequest(f"Token ids must be 0 to {self._model.n_vocab - 1}.")
            return tokens
        rows = np.frombuffer(payload, np.float32).reshape(command.rows, width)
        if not np.isfinite(rows).all():
            raise InvalidRequest("The hidden states hold values that are no finite numbers.")
        scale = self._window.input_scale
        return rows if scale == 1.0 else rows * np.float32(scale)

    # --- one tick ---

    def tick(self) -> None:
        runs = self._choose()
        if not runs:
            return
        count = self._count(runs[0])
        self._batch.clear()
        wanted = [run.wanted_of(count) for run in runs]
        for run, want in zip(runs, wanted, strict=True):
            self._add(run, count, want)
        began = time.perf_counter()
        code = self._context.decode(self._batch)
        seconds = time.perf_counter() - began
        if code:
            self._drop(runs, SwarmError(f"llama.cpp could not compute these layers (code {code})."))
            return
        self._collect(runs, count, wanted)
        for run in runs:
            run.seconds += seconds
            run.done += count
            self._held[run.command.sequence] = run.command.position + run.done
            self._pending.remove(run)
            if run.left:
                self._pending.append(run)
            else:
                self._answer(run)

    def _choose(self) -> list[_Run]:
        """The oldest run, and the runs of other sequences that go on with as many rows."""
        chosen: list[_Run] = []
        seen: set[int] = set()
        for run in list(self._pending):
            sequence = run.command.sequence
            if sequence in seen:
                continue
            seen.add(sequence)
            if chosen and not self._joins(run, chosen):
                continue
            try:
                self._place(run)
            except SwarmError as error:
                self._drop([run], error)
                continue
            chosen.append(run)
        return sorted(chosen, key=lambda run: self._sequences[run.command.sequence])

    def _joins(self, run: _Run, chosen: list[_Run]) -> bool:
        count = self._count(chosen[0])
        return self._count(run) == count and (len(chosen) + 1) * count <= self._load.batch_tokens

    def _count(self, run: _Run) -> int:
        """How many rows of `run` go into one batch."""
        most = self._load.batch_tokens
        others = any(other.command.sequence != run.command.sequence for other in self._pending)
        if others and run.left > self._load.prefill_chunk:
            most = self._load.prefill_chunk
        if self._capture is None:
            most = min(most, max(1, MAX_OUTPUT_ROWS // self._load.slots))
        return min(run.left, most)

    def _place(self, run: _Run) -> None:
        """Gives the sequence its slot and rolls it back to where the run begins."""
        command = run.command
        if run.done:
            return
        if command.sequence not in self._sequences:
            if not self._free:
                raise Overloaded(
                    f"This worker holds {self._load.slots} sequences already, which is its limit."
                )
            slot = min(self._free)
            self._free.remove(slot)
            self._sequences[command.sequence] = slot
            self._held[command.sequence] = 0
        held = self._held[command.sequence]
        if command.position > held:
            raise InvalidRequest(
                f"The sequence holds {held} positions, so it cannot go on at position {command.position}."
            )
        if command.position < held:
            self._roll_back(command.sequence, command.position)

    def _roll_back(self, sequence: int, position: int) -> None:
        slot = self._sequences[sequence]
        if position == 0:
            self._context.remove(slot)
        elif self._model.recurrent or not self._window.exact_rollback:
            raise Unsupported("This model's state cannot be rolled back; start the sequence again.")
        elif not self._context.remove(slot, position) or not self._still_exact(slot, position):
            self.end(sequence)
            raise Unsupported("The sequence could not be rolled back that far; start it again.")
        self._held[sequence] = position

    def _still_exact(self, slot: int, position: int) -> bool:
        """llama.cpp removes positions whose predecessors a sliding window has dropped, and is then wrong."""
        if not self._model.n_swa:
            return True
        return self._context.first_position(slot) <= max(0, position - self._model.n_swa)

    def _add(self, run: _Run, count: int, wanted: int) -> None:
        rows = run.rows[run.done : run.done + count]
        position = run.command.position + run.done
        slot = self._sequences[run.command.sequence]
        if self._takes_vectors:
            self._batch.extend_vectors(rows.astype(np.float32, copy=False), position, slot, wanted=wanted)
        else:
            self._batch.extend(rows.astype(np.int32, copy=False), position, slot, wanted=wanted)

    def _collect(self, runs: list[_Run], count: int, wanted: list[int]) -> None:
        if self._capture is None:
            for i, (run, want) in enumerate(zip(runs, wanted, strict=True)):
                end = (i + 1) * count
                run.parts.extend(self._context.logits(row).copy()[None] for row in range(end - want, end))
            return
        hidden = self._capture.take(self._model.n_embd)
        everything = len(hidden) == count * len(runs)
        at = 0
        for i, (run, want) in enumerate(zip(runs, wanted, strict=True)):
            end = (i + 1) * count if everything else at + want
            run.parts.append(hidden[end - want : end])
            at += want

    def _answer(self, run: _Run) -> None:
        vectors = self._capture is not None
        width = self._model.n_embd if vectors else self._model.n_vocab
        rows = np.concatenate(run.parts) if run.parts else np.empty((0, width), np.float32)
        if len(rows) != run.command.wanted:
            log.error("captured %d rows of %d", len(rows), run.command.wanted)
            self._drop([run], SwarmError("llama.cpp gave no hidden states for these layers."))
            return
        if not np.isfinite(rows).all():
            self._drop([run], SwarmError("These layers computed values that are no finite numbers."))
            return
        hidden = Hidden(
            request=run.command.request,
            rows=len(rows),
            width=width,
            kind="vectors" if vectors else "logits",
            seconds=run.seconds,
        )
        self._link.put(hidden, rows.tobytes())

    def _drop(self, runs: list[_Run], error: SwarmError) -> None:
        for run in runs:
            if run in self._pending:
                self._pending.remove(run)
            self._link.put(failed(run.command.request, error))
