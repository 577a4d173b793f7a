"""Turns GGUF files into a stored model, in steps a crash can interrupt anywhere. Blocking, for threads.

Everything is written into a folder under `.incoming` and renamed into place when it is complete and on
the disk; before that rename nothing of it exists as far as the library is concerned.
"""

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
    Source,
    SourceFile,
    check,
    content_root,
    encode,
    seal,
)
from app.core.models.names import display_name, license_name, quantization_name
from app.core.models.store import INCOMING, MANIFEST_NAME, SHARDS
from app.core.models.storing import Progress, copy_shard, flush_file, manifest_header


class ImportPlan(NamedTuple):
    """What is going to be imported. The manifest lacks the hashes still; `stamps` tell if a file changes."""

    source: GgufSource
    manifest: Manifest
    stamps: tuple[str, ...]

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
    stamps = tuple(file_stamp(part) for part in source.paths)
    return ImportPlan(source, plan_manifest(source, shard_size, repo=repo, revision=revision), stamps)


def plan_manifest(source: GgufSource, shard_size: int, *, repo: str = "", revision: str = "") -> Manifest:
    """The manifest, without hashes, of a model of which only the headers are known.

    The source's paths need not exist: their names are what counts. Raises BadModelFile.
    """
    facts = read_facts(source)
    placed = source.tensors()
    if not placed:
        raise BadModelFile(f"The file {source.paths[0].name} holds no tensors, so it is no model.")
    quantization = quantization_name(source.metadata, (each.tensor for each in placed))
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
        shards=plan_shards(source, facts.architecture, facts.n_layers + facts.n_extra_layers, shard_size),
        root="",
    )
    check(manifest)
    return manifest


def run_import(
    plan: ImportPlan, *, folder: Path, created: int, progress: Callable[[float], None], cancel: Event
) -> Imported:
    """Writes the shards into the new folder `folder`; whatever happens, the caller removes it.

    Raises DiskFull, StorageError, BadModelFile or Cancelled.
    """
    with disk_errors(f"import {plan.manifest.name}"):
        (folder / SHARDS).mkdir(parents=True)
        require_space(folder, plan.file_bytes)
        return _write(plan, folder, created, Progress(plan.manifest.data_bytes, progress, cancel))


def staging_folder(root: Path) -> Path:
    """A folder of its own for an import into the library at `root`; it does not exist yet."""
    return root / INCOMING / secrets.token_hex(8)


def _write(plan: ImportPlan, folder: Path, created: int, progress: Progress) -> Imported:
    hashes, flushes = {}, []
    with ThreadPoolExecutor(1, thread_name_prefix="import flush") as flusher:
        for shard in plan.manifest.shards:
            target = folder / SHARDS / shard.file
            hashes[shard.index] = copy_shard(
                shard,
                sources=plan.source.paths,
                target=target,
                header=manifest_header(plan.manifest, shard),
                alignment=plan.manifest.alignment,
                progress=progress,
            )
            flushes.append(flusher.submit(flush_file, target))
    for flushed in flushes:
        flushed.result()
    if tuple(file_stamp(path) for path in plan.source.paths) != plan.stamps:
        raise BadModelFile("The model file changed while it was imported.")
    local = Local(created=created, imported_from=str(plan.source.paths[0]))
    return assemble(plan.manifest, hashes, folder=folder, local=local)


def assemble(manifest: Manifest, hashes: Mapping[int, str], *, folder: Path, local: Local) -> Imported:
    """Completes a folder whose shard files are written: `hashes` has the BLAKE3 of each that is there.

    The others may be missing, which leaves the model incomplete. `Library.adopt` takes the result.
    """
    shards = tuple(
        msgspec.structs.replace(shard, blake3=hashes.get(shard.index, shard.blake3))
        for shard in manifest.shards
    )
    sealed = seal(msgspec.structs.replace(manifest, shards=shards, root=content_root(shards)))
    for index in hashes:
        path = folder / SHARDS / shards[index].file
        local.modified[path.name] = path.stat().st_mtime_ns
    sync_folder(folder / SHARDS)
    write_atomically(folder / MANIFEST_NAME, encode(sealed))
    save_local(folder, local)
    return Imported(folder, sealed, local)


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
