"""Carries one download out: from where it was to a model in the library, or to an error."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from app.core.kernel.errors import BadModelFile
from app.core.models.disk import disk_errors, require_space
from app.core.models.entries import ModelEntry
from app.core.models.hub.client import HubClient
from app.core.models.hub.failures import Patience, ungrouped
from app.core.models.hub.fetching import Fetcher
from app.core.models.hub.headers import RemoteSource, parse_remote, read_remote
from app.core.models.hub.journal import Journal
from app.core.models.hub.layout import Layout, plan_layout
from app.core.models.hub.pace import Bandwidth, Speed
from app.core.models.hub.probe import remote_manifest
from app.core.models.hub.proving import Prover, WrongBytes
from app.core.models.hub.record import Record, ShardProgress, load_heads, save_heads, save_record
from app.core.models.hub.staging import REST_NAME, Staging
from app.core.models.importing import Imported, assemble
from app.core.models.library import Library
from app.core.models.local import Local
from app.core.models.manifest import Manifest, ShardRecord
from app.core.models.merging import same_model
from app.core.models.threads import finish

log = logging.getLogger(__name__)

ROUNDS: Final = 2
MODEL: Final = "model"
JOURNAL: Final = "journal"


class Means(NamedTuple):
    """What all downloads share. `piece_bytes` are fetched and proven at once."""

    client: HubClient
    library: Library
    bandwidth: Bandwidth
    patience: Patience
    connections: int
    piece_bytes: int
    clock: Callable[[], float]


class _Work(NamedTuple):
    """A download in all detail. `need` are the shards to fetch; those `present` are in the library."""

    remote: RemoteSource
    manifest: Manifest
    need: frozenset[int]
    present: frozenset[int]
    layout: Layout
    staging: Staging
    journal: Journal
    prover: Prover


class Job:
    """One download in `folder`. `changed` is called at every step; `speed` counts what arrives."""

    def __init__(
        self, *, record: Record, folder: Path, means: Means, speed: Speed, changed: Callable[[], None]
    ) -> None:
        self._record = record
        self._folder = folder
        self._means = means
        self._speed = speed
        self._changed = changed
        self._work: _Work | None = None
        self.phase = "waiting"

    async def run(self) -> ModelEntry:
        """Raises SwarmError; what was fetched until then is gone on with the next time."""
        with disk_errors(f"download {self._record.name}"):
            for _ in range(ROUNDS - 1):
                try:
                    return await self._round()
                except WrongBytes as error:
                    log.warning("Download %s is fetched again: %s", self._record.id, error.message)
            try:
                return await self._round()
            except WrongBytes as error:
                await finish(self._forget, name="forgetting a download")
                if self._work is None or not self._work.present:
                    raise
                raise WrongBytes(
                    f"{error.message} Parts of the model were here before and may be wrong: remove it first."
                ) from error

    def progress(self) -> tuple[int, tuple[ShardProgress, ...]]:
        """Bytes that are on the disk, in all and for each wanted shard."""
        work = self._work
        if work is None:
            return 0, ()
        shards = tuple(
            ShardProgress(
                index=shard.index,
                size_bytes=shard.data_bytes,
                done_bytes=shard.data_bytes - work.prover.left_of(shard.index),
            )
            for shard in work.manifest.shards
            if shard.index in self._record.shards
        )
        return sum(shard.done_bytes for shard in shards), shards

    async def _round(self) -> ModelEntry:
        self._tell("reading headers")
        remote = await self._remote()
        manifest = await asyncio.to_thread(remote_manifest, remote, self._record.shard_size)
        if self._record.whole:
            # A header that first arrived wrong may have told of other shards.
            self._record.shards = tuple(range(len(manifest.shards)))
            self._record.total_bytes = manifest.data_bytes
        twin = find_twin(self._means.library, manifest)
        present = present_shards(self._means.library, twin)
        if twin is not None and present.keys() >= set(self._record.shards):
            return twin
        self._work = work = self._plan(remote, manifest, present)
        try:
            await finish(partial(self._open, work), name="opening a download")
            await self._transfer(work)
        except WrongBytes:
            await finish(partial(self._drop_wrong, work), name="looking for wrong bytes")
            raise
        finally:
            await finish(partial(_close, work), name="closing a download")
        self._tell("storing")
        imported = await finish(partial(self._assemble, work), name="assembling a download")
        return await self._means.library.adopt(imported)

    async def _remote(self) -> RemoteSource:
        record, means = self._record, self._means
        heads = await asyncio.to_thread(load_heads, self._folder, record.heads)
        if heads is None:
            remote = await read_remote(means.client, record.files, means.patience)
            record.heads = await asyncio.to_thread(save_heads, self._folder, remote.heads)
            await asyncio.to_thread(save_record, self._folder, record)
            return remote
        return await asyncio.to_thread(parse_remote, record.files, heads)

    def _plan(self, remote: RemoteSource, manifest: Manifest, present: dict[int, Path]) -> _Work:
        wanted = frozenset(self._record.shards)
        if max(wanted) >= len(manifest.shards):
            raise BadModelFile("The hub's file is cut differently now than when the download began.")
        need = wanted - present.keys()
        whole = len(need) + len(present) == len(manifest.shards)
        layout = plan_layout(
            manifest,
            data_offsets=[header.data_offset for header in remote.source.headers],
            wanted=need,
            whole=whole,
            step=self._means.piece_bytes,
        )
        folder, path = self._folder / MODEL, self._folder / JOURNAL
        staging = Staging(folder=folder, manifest=manifest, layout=layout, present=present)
        prover = Prover(
            staging=staging,
            layout=layout,
            manifest=manifest,
            files=remote.files,
            heads=remote.heads,
            wanted=need,
            whole=whole,
        )
        journal = Journal(path, fingerprint=layout.fingerprint(), count=len(layout.pieces))
        return _Work(remote, manifest, need, frozenset(present), layout, staging, journal, prover)

    def _open(self, work: _Work) -> None:
        fresh = work.staging.open(work.need, _metadata(work.manifest.shards[0], work.remote.heads[0]))
        work.journal.open()
        _forget_fresh(work, fresh)
        proven = sum(work.layout.pieces[number].length for number in work.journal.proven)
        require_space(self._folder, work.layout.total - proven)

    async def _transfer(self, work: _Work) -> None:
        means = self._means
        for number in work.journal.proven:
            work.prover.arrived(number)
        fetcher = Fetcher(
            client=means.client,
            files=work.remote.files,
            pieces=work.layout.pieces,
            connections=means.connections,
            bandwidth=means.bandwidth,
            patience=means.patience,
            store=partial(self._store, work),
            received=self._speed.add,
            clock=means.clock,
        )
        self._tell("downloading")
        missing = [n for n in range(len(work.layout.pieces)) if n not in work.journal.proven]
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                group.create_task(work.prover.run(), name=f"proving of download {self._record.id}")
                await fetcher.fetch(missing)
                self._tell("checking")

    async def _store(self, work: _Work, number: int, data: bytearray) -> None:
        def put() -> None:
            work.journal.add(number, work.staging.write(work.layout.pieces[number], data))

        await finish(put, name="storing a piece")
        work.prover.arrived(number)
        self._changed()

    def _drop_wrong(self, work: _Work) -> None:
        """Forgets the pieces that are no longer what was written. If all are, the hub sent something else."""
        sound = {
            number: digest
            for number, digest in work.journal.proven.items()
            if work.staging.digest(work.layout.pieces[number]) == digest
        }
        if len(sound) == len(work.journal.proven):
            self._forget_heads()
            sound = {}
        work.journal.restart(sound)

    def _forget(self) -> None:
        self._forget_heads()
        (self._folder / JOURNAL).unlink(missing_ok=True)
        shutil.rmtree(self._folder / MODEL, ignore_errors=True)

    def _forget_heads(self) -> None:
        for path in self._folder.glob("head-*"):
            path.unlink(missing_ok=True)

    def _assemble(self, work: _Work) -> Imported:
        (self._folder / MODEL / REST_NAME).unlink(missing_ok=True)
        local = Local(created=self._record.created)
        return assemble(work.manifest, work.prover.hashes, folder=self._folder / MODEL, local=local)

    def _tell(self, phase: str) -> None:
        self.phase = phase
        self._changed()


def find_twin(library: Library, manifest: Manifest) -> ModelEntry | None:
    """The model of the library that is the one `manifest` describes, as far as it is there."""
    return next(
        (entry for entry in library.models() if same_model(library.manifest(entry.id), manifest)), None
    )


def present_shards(library: Library, twin: ModelEntry | None) -> dict[int, Path]:
    """The files of the shards that are here and sound."""
    if twin is None:
        return {}
    here = (shard.index for shard in twin.shards if shard.state == "present")
    return {index: library.shard_path(twin.id, index) for index in here}


def _metadata(shard: ShardRecord, head: bytes) -> bytes:
    return b"".join(head[part.start : part.start + part.length] for part in shard.ranges)


def _forget_fresh(work: _Work, fresh: set[int]) -> None:
    """What a journal says of files that were not there is not true."""
    layout = work.layout
    kept = {
        number: digest
        for number, digest in work.journal.proven.items()
        if not any(part.shard in fresh for part in layout.within(*layout.pieces[number]))
    }
    if len(kept) < len(work.journal.proven):
        work.journal.restart(kept)


def _close(work: _Work) -> None:
    work.staging.close()
    work.journal.close()
