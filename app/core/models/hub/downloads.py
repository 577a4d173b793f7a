"""The queue of downloads: what is wanted, what runs, what is left of it after a restart.

Each download has a folder of its own under `.downloads` in the library's folder, so that its shards can be
renamed into place. What is in the queue is on the disk before `start` returns.
"""

import asyncio
import logging
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.core.kernel.errors import Conflict, DiskFull, NotFound, SwarmError
from app.core.kernel.events import DownloadChanged, EventBus
from app.core.kernel.units import human_bytes
from app.core.models.disk import disk_errors
from app.core.models.hub.headers import RemoteSource
from app.core.models.hub.job import Job, Means, find_twin
from app.core.models.hub.pace import Speed
from app.core.models.hub.record import (
    ACTIVE,
    Download,
    Record,
    State,
    load_record,
    save_heads,
    save_record,
)
from app.core.models.manifest import Manifest
from app.core.models.threads import finish

log = logging.getLogger(__name__)

FOLDER: Final = ".downloads"
MAX_FINISHED: Final = 50
EVENT_SECONDS: Final = 0.5


@dataclass(slots=True)
class _Entry:
    record: Record
    speed: Speed
    job: Job | None = None
    task: asyncio.Task[None] | None = None
    told: float = field(default=float("-inf"))


class Downloads:
    """`async with` goes on with what was under way. `at_once` downloads run side by side, in order.

    `root` is the library's folder; `clock` is monotonic, `wall_clock` Unix time.
    """

    def __init__(
        self,
        *,
        root: Path,
        means: Means,
        bus: EventBus,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root / FOLDER
        self._means = means
        self._bus = bus
        self._at_once = at_once
        self._clock = clock
        self._wall_clock = wall_clock
        self._entries: dict[str, _Entry] = {}
        self._closing = False
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        with disk_errors("open the folder of downloads"):
            records = await asyncio.to_thread(_load, self._root)
        for record in sorted(records, key=lambda record: (record.created, record.id)):
            if record.state == "running":
                record.state = "queued"
            self._entries[record.id] = _Entry(record, Speed(self._clock))
        self._closing = False
        self._pump()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for entry in self._entries.values():
            if entry.task is not None:
                await _stopped(entry)
                await self._save(entry)

    # --- what there is ----------------------------------------------------------------------------

    def all(self) -> tuple[Download, ...]:
        """Every download, the oldest first; those that ended, too."""
        return tuple(self._describe(entry) for entry in self._entries.values())

    def find(self, wanted: str) -> Download:
        """The download with this id, or the latest that became the model of this id. Raises NotFound."""
        return self._describe(self._entry(wanted))

    # --- what may be done -------------------------------------------------------------------------

    async def start(self, remote: RemoteSource, manifest: Manifest, shards: frozenset[int]) -> Download:
        """Queues the download of `shards` of a model. Raises DiskFull or StorageError.

        The same download that has not ended is gone on with instead; what is in the library already is not
        fetched.
        """
        async with self._starting:
            return await self._start(remote, manifest, shards)

    async def _start(self, remote: RemoteSource, manifest: Manifest, shards: frozenset[int]) -> Download:
        known = self._same(remote, shards)
        if known is not None:
            return await self.resume(known.record.id)
        wanted = tuple(sorted(shards))
        await self._require_room(manifest, wanted)
        record = Record(
            id=secrets.token_hex(8),
            name=manifest.name,
            files=remote.files,
            shard_size=manifest.shard_size,
            shards=wanted,
            whole=len(wanted) == len(manifest.shards),
            total_bytes=sum(manifest.shards[index].data_bytes for index in wanted),
            created=int(self._wall_clock()),
            heads=(),
        )
        await finish(partial(self._create, record, remote.heads), name="creating a download")
        entry = self._entries[record.id] = _Entry(record, Speed(self._clock))
        self._publish(entry)
        self._pump()
        return self._describe(entry)

    async def pause(self, wanted: str) -> Download:
        """Stops a download for now. Raises Conflict if it has ended."""
        entry = self._active(wanted)
        await self._change(entry, "paused")
        return self._describe(entry)

    async def resume(self, wanted: str) -> Download:
        """Goes on with a download that was paused or has failed."""
        entry = self._active(wanted)
        if entry.record.state not in {"queued", "running"}:
            await self._change(entry, "queued")
        return self._describe(entry)

    async def cancel(self, wanted: str) -> Download:
        """Ends a download and removes what was fetched; if it has ended, forgets it."""
        entry = self._entry(wanted)
        await _stopped(entry)
        entry.record.state = "cancelled" if entry.record.state in ACTIVE else entry.record.state
        self._entries.pop(entry.record.id, None)
        with disk_errors("remove a download"):
            await finish(partial(shutil.rmtree, self._folder(entry), ignore_errors=True), name="cancelling")
        self._publish(entry)
        self._pump()
        return self._describe(entry)

    # --- the queue --------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Starts what may run."""
        running = sum(entry.task is not None for entry in self._entries.values())
        for entry in self._entries.values():
            if self._closing or running >= self._at_once:
                return
            if entry.record.state == "queued" and entry.task is None:
                entry.task = asyncio.create_task(self._run(entry), name=f"download {entry.record.id}")
                running += 1

    async def _run(self, entry: _Entry) -> None:
        record = entry.record
        record.state, record.problem = "running", ""
        entry.job = Job(
            record=record,
            folder=self._folder(entry),
            means=self._means,
            speed=entry.speed,
            changed=partial(self._progressed, entry),
        )
        self._publish(entry)
        try:
            await self._carry_out(entry, entry.job)
        finally:
            record.done_bytes, _ = entry.job.progress()
            entry.task = entry.job = None
            self._publish(entry)
            self._pump()

    async def _carry_out(self, entry: _Entry, job: Job) -> None:
        record, folder = entry.record, self._folder(entry)
        try:
            record.model_id = (await job.run()).id
            record.state = "done"
            await finish(partial(_clear, folder), name="clearing up after a download")
        except SwarmError as error:
            record.state, record.problem = "failed", error.message
            log.warning("The download of %s failed: %s", record.name, error.message)
        except Exception:
            record.state, record.problem = "failed", "The node failed on this download; its log says where."
            log.exception("A download failed")
        record.done_bytes, _ = job.progress()
        await self._save(entry)

    async def _change(self, entry: _Entry, state: State) -> None:
        await _stopped(entry)
        if entry.record.state == "done":
            return
        entry.record.state, entry.record.problem = state, ""
        await self._save(entry)
        self._publish(entry)
        self._pump()

    async def _save(self, entry: _Entry) -> None:
        try:
            await finish(partial(save_record, self._folder(entry), entry.record), name="saving a download")
        except OSError as error:
            log.warning("The state of a download cannot be kept: %s", error)

    def _create(self, record: Record, heads: tuple[bytes, ...]) -> None:
        with disk_errors(f"begin the download of {record.name}"):
            folder = self._root / record.id
            record.heads = save_heads(folder, heads)
            save_record(folder, record)

    async def _require_room(self, manifest: Manifest, wanted: tuple[int, ...]) -> None:
        """Raises DiskFull unless disk and budget have room for this download and all that are under way."""
        twin = find_twin(self._means.library, manifest)
        here = {shard.index for shard in twin.shards if shard.state == "present"} if twin else set()
        needed = sum(manifest.shards[index].file_bytes for index in wanted if index not in here)
        active = [self._describe(e) for e in self._entries.values() if e.record.state in ACTIVE]
        storage = await self._means.library.storage()
        ahead = sum(download.total_bytes - download.done_bytes for download in active)
        if needed + ahead > storage.free:
            raise DiskFull(
                f"The download needs {human_bytes(needed)}, and others that are under way "
                f"{human_bytes(ahead)}; {human_bytes(storage.free)} are free on the disk of the model folder."
            )
        left = storage.budget - storage.used - sum(download.total_bytes for download in active)
        if storage.budget and needed > left:
            raise DiskFull(
                f"The download needs {human_bytes(needed)}, but of the {human_bytes(storage.budget)} that "
                f"models may take (max_disk_mb), {human_bytes(max(0, left))} are left."
            )

    # --- plumbing ---------------------------------------------------------------------------------

    def _same(self, remote: RemoteSource, shards: frozenset[int]) -> _Entry | None:
        for entry in self._entries.values():
            record = entry.record
            if record.state in ACTIVE and record.files == remote.files and set(record.shards) == shards:
                return entry
        return None

    def _entry(self, wanted: str) -> _Entry:
        known = self._entries.get(wanted)
        if known is None:
            by_model = [e for e in self._entries.values() if wanted and e.record.model_id == wanted]
            known = by_model[-1] if by_model else None
        if known is None:
            raise NotFound(f"There is no download {wanted!r}.", param="id")
        return known

    def _active(self, wanted: str) -> _Entry:
        entry = self._entry(wanted)
        if entry.record.state not in ACTIVE:
            raise Conflict(f"The download of {entry.record.name} has ended.")
        return entry

    def _folder(self, entry: _Entry) -> Path:
        return self._root / entry.record.id

    def _progressed(self, entry: _Entry) -> None:
        now = self._clock()
        if now - entry.told >= EVENT_SECONDS:
            entry.told = now
            self._publish(entry)

    def _publish(self, entry: _Entry) -> None:
        download = self._describe(entry)
        self._bus.publish(
            DownloadChanged(
                id=download.id,
                name=download.name,
                state=download.state,
                phase=download.phase,
                done_bytes=download.done_bytes,
                total_bytes=download.total_bytes,
                bytes_per_second=download.bytes_per_second,
                seconds_left=download.seconds_left,
                problem=download.problem,
                model_id=download.model_id,
            )
        )

    def _describe(self, entry: _Entry) -> Download:
        record, job = entry.record, entry.job
        done, shards = job.progress() if job else (record.done_bytes, ())
        speed = entry.speed.bytes_per_second() if job else 0.0
        if record.state == "done":
            done = record.total_bytes
        return Download(
            id=record.id,
            name=record.name,
            repo=record.files[0].repo,
            commit=record.files[0].commit,
            filename=record.files[0].path,
            state=record.state,
            phase=job.phase if job else "",
            problem=record.problem,
            model_id=record.model_id,
            created=record.created,
            total_bytes=record.total_bytes,
            done_bytes=done,
            bytes_per_second=speed,
            seconds_left=(record.total_bytes - done) / speed if speed else None,
            shards=shards,
        )


async def _stopped(entry: _Entry) -> None:
    """Ends the task of a download and waits for that."""
    task = entry.task
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _load(root: Path) -> list[Record]:
    """The records under `root`; folders without one are of downloads that never began."""
    root.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        record = load_record(folder)
        if record is None or record.id != folder.name or not record.files:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            records.append(record)
    finished = sorted((r for r in records if r.state == "done"), key=lambda record: record.created)
    for record in finished[:-MAX_FINISHED]:
        shutil.rmtree(root / record.id, ignore_errors=True)
        records.remove(record)
    return records


def _clear(folder: Path) -> None:
    """Removes everything but the record."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(("head-", "journal")):
            path.unlink(missing_ok=True)
