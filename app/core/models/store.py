"""One stored model on disk: its folder, what is in it and what is wrong with it. Blocking, for threads.

<root>/<id>/manifest.json    what the model consists of; written last, so its presence means "imported"
<root>/<id>/local.json       what only this node knows
<root>/<id>/shards/          the shard files that are here
<root>/<id>/windows/         small files that belong to loaded windows; emptied at start
<root>/<id>/quarantine/      shard files that failed a check
<root>/.incoming/            imports under way; emptied at start
<root>/.trash/               models being deleted; emptied at start
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.core.kernel.errors import BadModelFile
from app.core.models.disk import write_atomically
from app.core.models.headers import intact
from app.core.models.local import Local, load_local, save_local
from app.core.models.manifest import MAX_MANIFEST_BYTES, Manifest, ShardRecord, decode, encode
from app.core.models.merging import merged
from app.core.models.storing import Progress, hash_shard, manifest_header

MANIFEST_NAME: Final = "manifest.json"
SHARDS: Final = "shards"
WINDOWS: Final = "windows"
QUARANTINE: Final = "quarantine"
INCOMING: Final = ".incoming"
TRASH: Final = ".trash"


@dataclass(slots=True)
class Stored:
    """A model of the library. `present` are the shards here; `suspect` those changed since last proven."""

    id: str
    folder: Path
    manifest: Manifest
    local: Local
    present: set[int] = field(default_factory=set)
    suspect: set[int] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return len(self.present) == len(self.manifest.shards)

    def path(self, shard: ShardRecord) -> Path:
        return self.folder / SHARDS / shard.file

    @property
    def windows(self) -> Path:
        return self.folder / WINDOWS


def open_stored(folder: Path) -> Stored:
    """Reads the manifest in `folder` and checks its shards quickly.

    Raises BadModelFile (or FutureManifest) if the manifest cannot be used, OSError if it cannot be read.
    """
    path = folder / MANIFEST_NAME
    with path.open("rb") as file:
        manifest = decode(file.read(MAX_MANIFEST_BYTES + 1))
    local = load_local(folder) or Local(created=int(path.stat().st_mtime))
    stored = Stored(folder.name, folder, manifest, local)
    check_quickly(stored)
    return stored


def refresh(stored: Stored) -> Stored:
    """Looks at a known model's folder again. Raises as `open_stored`."""
    with (stored.folder / MANIFEST_NAME).open("rb") as file:
        manifest = decode(file.read(MAX_MANIFEST_BYTES + 1))
    if manifest.blake3 != stored.manifest.blake3:
        return open_stored(stored.folder)
    check_quickly(stored)
    return stored


def check_quickly(stored: Stored) -> None:
    """Looks at every shard's size, time and header; repairs headers, sets wrong files aside."""
    stored.present.clear()
    stored.suspect.clear()
    for shard in stored.manifest.shards:
        path = stored.path(shard)
        if not path.is_file():
            continue
        size = path.stat().st_size
        if size != shard.file_bytes:
            quarantine(stored, shard, f"It has {size} bytes instead of {shard.file_bytes}.")
            continue
        stored.present.add(shard.index)
        repair_header(stored, shard)
        if path.stat().st_mtime_ns != stored.local.modified.get(shard.file):
            stored.suspect.add(shard.index)


def repair_header(stored: Stored, shard: ShardRecord) -> None:
    """Writes the header anew if a crash tore it."""
    with stored.path(shard).open("rb") as file:
        header = file.read(shard.header_bytes)
    if not intact(header):
        write_header(stored, shard, manifest_header(stored.manifest, shard))


def write_header(stored: Stored, shard: ShardRecord, header: bytes) -> None:
    """Puts `header` before the data, unless it is there already. The file's time stays that of its data."""
    path = stored.path(shard)
    with path.open("rb") as reading:
        if reading.read(len(header)) == header:
            return
    with path.open("r+b", buffering=0) as file:
        before = os.fstat(file.fileno())
        file.write(header)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def quarantine(stored: Stored, shard: ShardRecord, reason: str) -> None:
    """Sets a shard file aside, with the reason, so that it is neither loaded nor served."""
    aside = stored.folder / QUARANTINE
    aside.mkdir(exist_ok=True)
    stored.path(shard).replace(aside / shard.file)
    stored.present.discard(shard.index)
    stored.suspect.discard(shard.index)
    stored.local.quarantined[shard.file] = reason
    stored.local.modified.pop(shard.file, None)
    save_local(stored.folder, stored.local)


def proven(stored: Stored, shard: ShardRecord) -> None:
    """Notes that the shard's data has just been checked or written."""
    stored.local.modified[shard.file] = stored.path(shard).stat().st_mtime_ns
    stored.local.quarantined.pop(shard.file, None)
    stored.present.add(shard.index)
    stored.suspect.discard(shard.index)


def delete_stored(stored: Stored, root: Path) -> None:
    """Removes a model; after a crash in the middle the rest goes at the next start."""
    trash = root / TRASH
    trash.mkdir(exist_ok=True)
    target = trash / stored.id
    shutil.rmtree(target, ignore_errors=True)
    stored.folder.replace(target)
    shutil.rmtree(target, ignore_errors=True)


def delete_shard(stored: Stored, shard: ShardRecord) -> None:
    """Removes one shard file."""
    stored.path(shard).unlink(missing_ok=True)
    stored.present.discard(shard.index)
    stored.suspect.discard(shard.index)
    stored.local.modified.pop(shard.file, None)
    save_local(stored.folder, stored.local)


def fill_in(stored: Stored, folder: Path, manifest: Manifest) -> None:
    """Takes over from `folder`, which holds the same model, the shards and hashes that are missing.

    The hashes come first: a shard without its manifest's hash could never be proven.
    """
    together = merged(stored.manifest, manifest)
    if together.blake3 != stored.manifest.blake3:
        write_atomically(stored.folder / MANIFEST_NAME, encode(together))
        stored.manifest = together
    for shard in together.shards:
        source = folder / SHARDS / shard.file
        if shard.index not in stored.present and source.is_file():
            source.replace(stored.path(shard))
            proven(stored, shard)
    save_local(stored.folder, stored.local)
    shutil.rmtree(folder, ignore_errors=True)


def check_shard(stored: Stored, shard: ShardRecord, progress: Progress) -> None:
    """Hashes a shard's data; sets the file aside if it is not what the manifest says."""
    if shard.index not in stored.present:
        return
    try:
        digest = hash_shard(stored.path(shard), shard, progress)
    except (BadModelFile, OSError) as error:
        quarantine(stored, shard, str(error))
        return
    if digest != (shard.blake3 or digest):
        quarantine(stored, shard, "Its data is not what the manifest says: the hashes differ.")
        return
    proven(stored, shard)
    save_local(stored.folder, stored.local)


def free_bytes(root: Path) -> int:
    """Bytes that are free on the disk of `root`."""
    return shutil.disk_usage(root).free


def sweep(root: Path) -> None:
    """Removes what a crash left behind."""
    for name in (INCOMING, TRASH):
        empty_folder(root / name)
    for folder in model_folders(root):
        empty_folder(folder / WINDOWS)


def model_folders(root: Path) -> list[Path]:
    """The folders under `root` that should hold models."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def problem_of(error: BadModelFile | OSError) -> str:
    """Why a folder holds no usable model, as a sentence."""
    if isinstance(error, BadModelFile):
        return error.message
    if isinstance(error, FileNotFoundError):
        return "It has no manifest."
    return f"It cannot be read: {error.strerror or error}."


def empty_folder(folder: Path) -> None:
    """Removes a folder and what is in it, if it is there."""
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
