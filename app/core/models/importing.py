"""Turns GGUF files into a stored model, in steps a crash can interrupt anywhere. Blocking, for threads.

Everything is written into a folder under `.incoming` and renamed into place when it is complete and on
the disk; before that rename nothing of it exists as far as the library is concerned.
"""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import NamedTuple

import msgspec

from app.core.kernel.errors import BadModelFile
from app.core.models.cutting import plan_shards
from app.core.models.disk import disk_errors, require_space, sync_folder, write_atomically
from app.core.models.facts import read_facts
from app.core.models.gguf.source import GgufSource, read_source
from app.core.models.local import Local, save_local
from app.core.models.manifest import (
    Manifest,
    ShardRecord,
    Source,
    SourceFile,
    content_root,
    encode,
    seal,
)
from app.core.models.names import display_name, license_name, quantization_name
from app.core.models.store import INCOMING, MANIFEST_NAME, SHARDS
from app.core.models.storing import Progress, copy_shard, home_header


class ImportPlan(NamedTuple):
    """What is going to be imported; the manifest lacks the hashes still."""

    source: GgufSource
    manifest: Manifest

    @property
    def file_bytes(self) -> int:
        return sum(shard.file_bytes for shard in self.manifest.shards)


class Imported(NamedTuple):
    """A finished import in its folder under `.incoming`."""

    folder: Path
    manifest: Manifest
    local: Local


def plan_import(path: Path, *, shard_size: int, repo: str = "", revision: str = "") -> ImportPlan:
    """Reads the headers at `path` and decides the cut. Raises BadModelFile."""
    source = read_source(path)
    facts = read_facts(source)
    placed = source.tensors()
    if not placed:
        raise BadModelFile(f"The file {path.name} holds no tensors, so it is no model.")
    quantization = quantization_name(source.metadata, (each.tensor for each in placed))
    shards = plan_shards(source, facts.architecture, facts.n_layers + facts.n_extra_layers, shard_size)
    files = tuple(
        SourceFile(part.name, header.file_size)
        for part, header in zip(source.paths, source.headers, strict=True)
    )
    manifest = Manifest(
        name=display_name(source.metadata, source.stem, quantization),
        quantization=quantization,
        license=license_name(source.metadata),
        source=Source(files=files, repo=repo, revision=revision),
        facts=facts,
        alignment=source.alignment,
        shard_size=shard_size,
        shards=shards,
        root="",
    )
    return ImportPlan(source, manifest)


def run_import(
    plan: ImportPlan,
    *,
    root: Path,
    created: int,
    progress: Callable[[float], None],
    cancel: Event,
) -> Imported:
    """Writes the shards. Raises DiskFull, StorageError, BadModelFile or Cancelled and then leaves nothing."""
    folder = root / INCOMING / secrets.token_hex(8)
    with disk_errors(f"import {plan.manifest.name}"):
        require_space(root, plan.file_bytes)
        try:
            (folder / SHARDS).mkdir(parents=True)
            return _write(plan, folder, created, Progress(plan.manifest.data_bytes, progress, cancel))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _write(plan: ImportPlan, folder: Path, created: int, progress: Progress) -> Imported:
    before = _identity(plan.source)
    shards = tuple(_write_shard(plan, shard, folder, progress) for shard in plan.manifest.shards)
    if _identity(plan.source) != before:
        raise BadModelFile("The model file changed while it was imported.")
    manifest = seal(msgspec.structs.replace(plan.manifest, shards=shards, root=content_root(shards)))
    local = Local(created=created, imported_from=str(plan.source.paths[0]))
    for shard in shards:
        local.modified[shard.file] = (folder / SHARDS / shard.file).stat().st_mtime_ns
    sync_folder(folder / SHARDS)
    write_atomically(folder / MANIFEST_NAME, encode(manifest))
    save_local(folder, local)
    return Imported(folder, manifest, local)


def _write_shard(plan: ImportPlan, shard: ShardRecord, folder: Path, progress: Progress) -> ShardRecord:
    manifest = plan.manifest
    header = home_header(
        shard,
        architecture=manifest.facts.architecture,
        alignment=manifest.alignment,
        shards=manifest.shards,
    )
    digest = copy_shard(
        shard,
        sources=plan.source.paths,
        target=folder / SHARDS / shard.file,
        header=header,
        alignment=manifest.alignment,
        progress=progress,
    )
    return msgspec.structs.replace(shard, blake3=digest)


def _identity(source: GgufSource) -> list[tuple[int, int, int]]:
    stats = [path.stat() for path in source.paths]
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


def file_stamp(path: Path) -> str:
    """Size and time of a file, to tell whether it is still the one that was imported."""
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def settle(imported: Imported, target: Path, name: str | None) -> None:
    """Puts a finished import in its place in the library, under `name` if it is to have one of its own."""
    with disk_errors(f"store the model {target.name}"):
        if name is not None:
            imported.local.name = name
            save_local(imported.folder, imported.local)
        imported.folder.replace(target)
        sync_folder(target.parent)
