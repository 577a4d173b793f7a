"""The models of this node: found at start, imported, checked, handed to the engine, removed.

Everything here runs on the loop and nothing here touches the disk: that is done in threads, one at a time
per model, under the model's lock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Final, Self, TypeVar

from app.core.kernel.errors import BadModelFile, Conflict, DiskFull, ModelNotFound, NotFound
from app.core.kernel.events import EventBus, ModelsChanged, Notice
from app.core.kernel.units import MIB, human_bytes
from app.core.kernel.window import Window
from app.core.models import importing, names, store
from app.core.models.checking import Checker
from app.core.models.discovery import Candidate, discover
from app.core.models.disk import disk_errors
from app.core.models.embedding import embed_rows
from app.core.models.entries import ModelEntry, Problem, Storage, describe, held_bytes
from app.core.models.local import save_local
from app.core.models.lookup import find_model, find_shard
from app.core.models.manifest import Manifest, ShardRecord
from app.core.models.merging import same_model
from app.core.models.slices.files import open_window
from app.core.models.store import Stored
from app.core.models.threads import ModelLocks, finish, reporter, see_through

T = TypeVar("T")

BUILTIN_ID: Final = "swarmllm-guide"
BUILTIN_NAME: Final = "SwarmLLM Guide (demonstration)"


def _no_progress(_: float) -> None:
    """For callers that do not watch."""


def _fill_in(model: Stored, imported: importing.Imported) -> None:
    with disk_errors(f"complete the model {model.manifest.name}"):
        store.fill_in(model, imported.folder, imported.manifest)


class Library:
    """All models under `root`. `async with` scans them; afterwards every method may be called.

    `shard_size_mb` is the size at which imported models are cut; `max_disk_mb` bounds what all models may
    take together, 0 meaning as much as the disk holds. `clock` gives unix seconds.
    """

    def __init__(
        self,
        *,
        root: Path,
        bus: EventBus,
        shard_size_mb: int = 512,
        max_disk_mb: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root.absolute()
        self._bus = bus
        self._shard_size = shard_size_mb * MIB
        self._budget = max_disk_mb * MIB
        self._clock = clock
        self._models: dict[str, Stored] = {}
        self._problems: dict[str, str] = {}
        self._locks = ModelLocks()
        self._checker = Checker(locks=self._locks, bus=bus)
        self._importing = asyncio.Lock()
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        with disk_errors("open the model folder"):
            await asyncio.to_thread(self._prepare)
        await self.rescan()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._checker.stop()

    def _prepare(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        store.sweep(self._root)

    # --- what is here -----------------------------------------------------------------------------

    def models(self) -> tuple[ModelEntry, ...]:
        """Every model, the oldest first."""
        stored = sorted(self._models.values(), key=lambda model: (model.local.created, model.id))
        return tuple(describe(model) for model in stored)

    def problems(self) -> tuple[Problem, ...]:
        """Folders that were found but cannot be used."""
        return tuple(Problem(folder=name, reason=reason) for name, reason in sorted(self._problems.items()))

    def find(self, name: str) -> ModelEntry:
        """The model with this id, display name or unambiguous beginning of an id. Raises ModelNotFound."""
        return describe(self._find(name))

    def manifest(self, model_id: str) -> Manifest:
        """What the model consists of. Raises ModelNotFound."""
        return self._find(model_id).manifest

    def shard_path(self, model_id: str, index: int) -> Path:
        """The file of a shard that is here, e.g. to serve its data to a peer. Raises NotFound."""
        model = self._find(model_id)
        shard = find_shard(model, index)
        if index not in model.present:
            raise NotFound(f"Shard {index} of {model.manifest.name} is not on this node.")
        return model.path(shard)

    async def storage(self) -> Storage:
        """What the models take on disk, and what is left."""
        with disk_errors("read the size of the disk"):
            free = await asyncio.to_thread(store.free_bytes, self._root)
        used = {model.id: held_bytes(model) for model in self._models.values()}
        return Storage(used=sum(used.values()), free=free, budget=self._budget, models=used)

    async def rescan(self) -> None:
        """Looks at the folder anew, e.g. after files were put there by hand."""
        async with self._changing:
            with disk_errors("read the model folder"):
                folders = await asyncio.to_thread(store.model_folders, self._root)
            models: dict[str, Stored] = {}
            problems: dict[str, str] = {}
            for folder in folders:
                await self._look_at(folder, models, problems)
            self._models, self._problems = models, problems
        self._checker.recheck(self._models.values())
        self._bus.publish(ModelsChanged())

    async def _look_at(self, folder: Path, models: dict[str, Stored], problems: dict[str, str]) -> None:
        """Takes up the model in `folder`, or notes why that cannot be done."""
        known = self._models.get(folder.name)
        try:
            work = partial(store.refresh, known) if known else partial(store.open_stored, folder)
            models[folder.name] = await self._locks.run(folder.name, work)
        except (BadModelFile, OSError) as error:
            reason = problems[folder.name] = store.problem_of(error)
            message = f"The model {folder.name} cannot be used. {reason}"
            self._bus.publish(Notice(level="warning", message=message))

    # --- for the engine ---------------------------------------------------------------------------

    async def window(
        self,
        model_id: str,
        first: int = 0,
        last: int | None = None,
        *,
        embedding: bool = True,
        head: bool = True,
    ) -> Window:
        """Layers `first` up to `last` (None: to the end) as files that llama.cpp can load.

        The embedding and the output head belong to it where it reaches them, unless switched off.
        `first == last ==` the layer count asks for the output head alone. The files' headers may be
        rewritten by the next call for the same model, so load the window before asking for another; what
        is loaded already is not affected. Raises ModelNotFound, InvalidRequest, Unsupported (the
        architecture forbids this cut) or Conflict (shards are missing).
        """
        async with self.opened(model_id, first, last, embedding=embedding, head=head) as window:
            return window

    @asynccontextmanager
    async def opened(
        self,
        model_id: str,
        first: int = 0,
        last: int | None = None,
        *,
        embedding: bool = True,
        head: bool = True,
    ) -> AsyncIterator[Window]:
        """As `window`, and until the block ends nobody opens another window of this model.

        Meant for loading several windows that share shards, one after the other.
        """
        model = self._find(model_id)

        def work() -> Window:
            with disk_errors(f"open the model {model.manifest.name}"):
                return open_window(model, first, last, embedding=embedding, head=head)

        async with self._locks.of(model.id):
            yield await finish(work, name=f"opening {model.id}")

    async def embed(self, model_id: str, tokens: Sequence[int]) -> bytes:
        """What enters the first layer for `tokens`: float32 [len(tokens), n_embd], row-major.

        Raises InvalidRequest for a token outside the vocabulary, Conflict without the embedding shard.
        """
        model = self._find(model_id)
        return await finish(partial(embed_rows, model, tokens), name=f"embedding for {model.id}")

    async def release(self, model_id: str) -> None:
        """Removes the small files of the model's windows, once none of them is going to be loaded again."""
        model = self._find(model_id)
        await self._locked(model, partial(store.empty_folder, model.windows))

    # --- importing --------------------------------------------------------------------------------

    async def discover(self, home: Path, environ: Mapping[str, str]) -> tuple[Candidate, ...]:
        """Models that Ollama, LM Studio and the Hugging Face cache already hold, for `import_file`."""
        return await asyncio.to_thread(discover, home, environ)

    async def import_file(
        self,
        path: Path,
        *,
        name: str | None = None,
        repo: str = "",
        revision: str = "",
        progress: Callable[[float], None] = _no_progress,
    ) -> ModelEntry:
        """Cuts the GGUF at `path` (any file of a split set) into shards of this library.

        `repo` and `revision` tell where on the Hugging Face hub the file is from, if it is.
        `progress` is called on the loop with 0 to 1. A model whose content is here already is not stored
        twice; what it lacks is filled in. Cancelling removes what was written. Raises BadModelFile,
        DiskFull or StorageError.
        """
        async with self._importing:
            plan = await asyncio.to_thread(
                importing.plan_import, path, shard_size=self._shard_size, repo=repo, revision=revision
            )
            self._require_budget(plan.file_bytes)
            folder = importing.staging_folder(self._root)
            try:
                imported = await self._run_import(plan, folder, progress)
                return await self.adopt(imported, name)
            finally:
                await finish(partial(store.empty_folder, folder), name="clearing up after an import")

    async def ensure_builtin(self, path: Path) -> ModelEntry:
        """The built-in demonstration model, imported from `path` unless it is here. Cheap if it is."""
        known = next((model for model in self._models.values() if model.local.builtin), None)
        stamp = await self._stamp(path)
        if known is not None and known.complete and known.local.stamp == stamp:
            return describe(known)
        if known is not None:
            await self.remove(known.id)
        entry = await self.import_file(path, name=BUILTIN_ID)
        return await self._note_origin(entry, stamp, builtin=True, name=BUILTIN_NAME)

    async def ensure_file(self, path: Path) -> ModelEntry:
        """The model of the GGUF at `path`, imported unless it came from there unchanged. Cheap if it did."""
        stamp = f"{path} {await self._stamp(path)}"
        known = next((model for model in self._models.values() if model.local.stamp == stamp), None)
        if known is not None and known.complete:
            return describe(known)
        entry = await self.import_file(path)
        return entry if entry.builtin else await self._note_origin(entry, stamp)

    async def _stamp(self, path: Path) -> str:
        with disk_errors(f"read {path.name}"):
            return await asyncio.to_thread(importing.file_stamp, path)

    async def _note_origin(
        self, entry: ModelEntry, stamp: str, *, builtin: bool = False, name: str = ""
    ) -> ModelEntry:
        model = self._models[entry.id]
        local = model.local
        local.stamp, local.builtin, local.name = stamp, local.builtin or builtin, name or local.name
        await self._locked(model, partial(save_local, model.folder, local))
        return describe(model)

    async def _run_import(
        self, plan: importing.ImportPlan, folder: Path, progress: Callable[[float], None]
    ) -> importing.Imported:
        cancel, report = Event(), reporter(progress)
        created = int(self._clock())

        def work() -> importing.Imported:
            return importing.run_import(plan, folder=folder, created=created, progress=report, cancel=cancel)

        return await finish(work, name="library import", cancel=cancel.set)

    async def adopt(self, imported: importing.Imported, name: str | None = None) -> ModelEntry:
        """Takes up a model whose shards were written by `importing.assemble`, all of them or some.

        If the same model is here already, that one gets what it lacks.
        """
        return await see_through(self._adopt(imported, name), name="library adoption")

    async def _adopt(self, imported: importing.Imported, name: str | None) -> ModelEntry:
        async with self._changing:
            twins = (m for m in self._models.values() if same_model(m.manifest, imported.manifest))
            settled = next(twins, None)
            if settled is not None:
                await self._locked(settled, partial(_fill_in, settled, imported))
            else:
                wanted = names.model_id(name or imported.manifest.name)
                target = self._root / names.unused_id(wanted, {*self._models, *self._problems})
                await asyncio.to_thread(importing.settle, imported, target, name)
                settled = await asyncio.to_thread(store.open_stored, target)
                self._models[settled.id] = settled
        self._bus.publish(ModelsChanged())
        return describe(settled)

    def _require_budget(self, needed: int) -> None:
        used = sum(held_bytes(model) for model in self._models.values())
        if self._budget and used + needed > self._budget:
            raise DiskFull(
                f"The model needs {human_bytes(needed)}, but of the {human_bytes(self._budget)} that models "
                f"may take (max_disk_mb), {human_bytes(max(0, self._budget - used))} are left."
            )

    # --- checking and removing --------------------------------------------------------------------

    async def verify(self, model_id: str, *, progress: Callable[[float], None] = _no_progress) -> ModelEntry:
        """Hashes every shard that is here and sets aside those that are not what the manifest says."""
        model = self._find(model_id)
        await self._checker.verify(model, progress)
        return describe(model)

    async def remove(self, model_id: str) -> None:
        """Deletes the model with exactly this id, and everything of it. Raises ModelNotFound."""
        model = self._exact(model_id)

        def work() -> None:
            with disk_errors(f"delete the model {model.manifest.name}"):
                store.delete_stored(model, self._root)

        async with self._changing:
            await self._locked(model, work)
            self._models.pop(model.id, None)
        self._bus.publish(ModelsChanged())

    async def remove_shard(self, model_id: str, index: int) -> ModelEntry:
        """Deletes one shard, which leaves the model incomplete. Raises Conflict if it is locked."""
        model, shard = self._exact(model_id), self.require_removable(model_id, index)

        def work() -> None:
            with disk_errors(f"delete shard {index} of {model.manifest.name}"):
                store.delete_shard(model, shard)

        await self._locked(model, work)
        self._bus.publish(ModelsChanged())
        return describe(model)

    def require_removable(self, model_id: str, index: int) -> ShardRecord:
        """The shard, which may be deleted. Raises ModelNotFound, NotFound, or Conflict if it is locked."""
        model = self._exact(model_id)
        shard = find_shard(model, index)
        if index in model.local.locked:
            raise Conflict(f"Shard {index} of {model.manifest.name} is locked; unlock it before deleting it.")
        return shard

    async def lock_shard(self, model_id: str, index: int, *, locked: bool = True) -> ModelEntry:
        """Keeps a shard from being deleted, or no longer."""
        model = self._exact(model_id)
        find_shard(model, index)
        (model.local.locked.add if locked else model.local.locked.discard)(index)
        await self._locked(model, partial(save_local, model.folder, model.local))
        return describe(model)

    # --- plumbing ---------------------------------------------------------------------------------

    def _find(self, name: str) -> Stored:
        return find_model(self._models, name)

    def _exact(self, model_id: str) -> Stored:
        """What is going to be changed is named in full."""
        if model_id not in self._models:
            raise ModelNotFound(f"There is no model with the id {model_id!r} on this node.", param="model")
        return self._models[model_id]

    async def _locked(self, model: Stored, work: Callable[[], T]) -> T:
        return await self._locks.run(model.id, work)
