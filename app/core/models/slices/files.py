"""Writes what a planned window needs on disk. Blocking, for threads.

The headers of a model's shards are shared by all its windows: they are rewritten for each, and may be
rewritten again as soon as llama.cpp has loaded the files, because it never looks at them again. Data never
moves. Two windows of one model are therefore loaded one after the other, which the library's lock sees to.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from app.core.kernel.errors import Conflict
from app.core.kernel.window import Window
from app.core.models.architectures import architecture_of
from app.core.models.cloning import BLOCK, copy_range
from app.core.models.gguf.reader import read_header
from app.core.models.gguf.types import DEFAULT_ALIGNMENT, padded, tensor_bytes
from app.core.models.gguf.writer import TensorEntry
from app.core.models.headers import Place, compose, compose_window
from app.core.models.manifest import HEADER_STEP, ShardRecord, header_region
from app.core.models.slices.blocks import Span, is_whole, span_of
from app.core.models.slices.plan import OwnTensor, ShardUse, Stored, WindowPlan, plan_window
from app.core.models.store import Stored as StoredModel
from app.core.models.store import write_header
from app.core.models.storing import manifest_header

_ONE: Final = b"\x00\x00\x80\x3f"
"""1.0 as float32."""


def open_window(model: StoredModel, first: int, last: int | None, *, embedding: bool, head: bool) -> Window:
    """Puts the files of a window in order.

    Raises InvalidRequest for layers that do not exist, Unsupported for a cut that the architecture forbids
    and Conflict if shards are missing.
    """
    manifest = model.manifest
    span = span_of(manifest, first, last, embedding=embedding, head=head)
    if is_whole(span, manifest.facts):
        return _open_whole(model, span)
    rules = architecture_of(manifest.facts.architecture)
    metadata_shard = manifest.shards[0]
    _require(model, [metadata_shard])
    metadata = read_header(model.path(metadata_shard)).metadata
    plan = plan_window(manifest, metadata, rules, span)
    copied = {own.content.shard for own in plan.own if isinstance(own.content, Stored)}
    _require(model, [*(use.shard for use in plan.shards), *(manifest.shards[index] for index in copied)])
    model.windows.mkdir(exist_ok=True)
    count = 1 + len(plan.shards)
    files = [_write_own(model, plan, count)]
    for number, use in enumerate(plan.shards, start=1):
        files.append(_open_shard(model, use, Place(number, count, plan.n_tensors, plan.id)))
    return Window(
        files=tuple(str(file) for file in files),
        architecture=manifest.facts.architecture,
        first=span.first,
        last=span.last,
        n_layers=manifest.facts.n_layers,
        takes="tokens" if span.tokens else "vectors",
        gives="logits" if span.logits else "vectors",
        capture=plan.capture,
        position_rows=plan.position_rows,
        input_scale=plan.input_scale,
        exact_rollback=plan.exact_rollback,
    )


def _open_whole(model: StoredModel, span: Span) -> Window:
    manifest = model.manifest
    _require(model, manifest.shards)
    for shard in manifest.shards:
        write_header(model, shard, manifest_header(manifest, shard))
    return Window(
        files=tuple(str(model.path(shard)) for shard in manifest.shards),
        architecture=manifest.facts.architecture,
        first=span.first,
        last=span.last,
        n_layers=manifest.facts.n_layers,
        exact_rollback=architecture_of(manifest.facts.architecture).exact_rollback,
    )


def _require(model: StoredModel, shards: Sequence[ShardRecord]) -> None:
    missing = sorted({shard.index for shard in shards} - model.present)
    if missing:
        names = ", ".join(str(index) for index in missing)
        raise Conflict(f"The model {model.manifest.name} is incomplete: its shards {names} are not here.")


def _open_shard(model: StoredModel, use: ShardUse, place: Place) -> Path:
    if use.in_place:
        entries = [TensorEntry(u.name, u.record.shape, u.record.kind, u.record.offset) for u in use.tensors]
        write_header(model, use.shard, _header(model, use.shard.header_bytes, place, entries))
        return model.path(use.shard)
    return _write_part(model, use, place)


def _write_part(model: StoredModel, use: ShardUse, place: Place) -> Path:
    """The window begins inside this shard, and a GGUF cannot skip data: what it uses gets a file of its own.

    The blocks are shared with the shard where the filesystem can, else copied: a part of one shard, for as
    long as the window is in use. Windows that begin where a shard begins never need this.
    """
    entries: list[TensorEntry] = []
    end = 0
    for used in use.tensors:
        offset = padded(end, model.manifest.alignment)
        entries.append(TensorEntry(used.name, used.record.shape, used.record.kind, offset))
        end = offset + used.record.size
    base = use.shard.header_bytes
    size = header_region(use.shard.tensors) + (base + use.tensors[0].record.offset) % BLOCK
    header = _header(model, size, place, entries)
    target = model.windows / f"{place.window}-{use.shard.file}"
    if _begins_with(target, header):
        return target
    temporary = target.with_suffix(".tmp")
    with model.path(use.shard).open("rb") as source, temporary.open("wb") as output:
        output.write(header)
        for start, offset, length in _runs(use, entries):
            copy_range(source, base + start, output, size + offset, length)
    temporary.replace(target)
    return target


def _runs(use: ShardUse, entries: Sequence[TensorEntry]) -> list[tuple[int, int, int]]:
    """(start in the shard's data, start in the part's data, bytes) of what lies in one piece in both."""
    runs: list[tuple[int, int, int]] = []
    for used, entry in zip(use.tensors, entries, strict=True):
        start, size = used.record.offset, used.record.size
        if runs and start - entry.offset == runs[-1][0] - runs[-1][1]:
            runs[-1] = (*runs[-1][:2], start + size - runs[-1][0])
        else:
            runs.append((start, entry.offset, size))
    return runs


def _header(model: StoredModel, size: int, place: Place, entries: Sequence[TensorEntry]) -> bytes:
    return compose(
        size=size,
        architecture=model.manifest.facts.architecture,
        alignment=model.manifest.alignment,
        place=place,
        tensors=entries,
    )


def _write_own(model: StoredModel, plan: WindowPlan, count: int) -> Path:
    """The window's first file. Zeros are holes, which take no room on filesystems that have them."""
    target = model.windows / f"{plan.id}.gguf"
    entries, end = [], 0
    for own in plan.own:
        offset = padded(end, DEFAULT_ALIGNMENT)
        entries.append(TensorEntry(own.name, own.shape, own.kind, offset))
        end = offset + tensor_bytes(own.kind, own.shape)
    place = Place(0, count, plan.n_tensors, plan.id)
    header = compose_window(fields=plan.fields, place=place, tensors=entries, multiple=HEADER_STEP)
    if _begins_with(target, header):
        return target
    temporary = target.with_suffix(".tmp")
    with temporary.open("wb") as output:
        output.write(header)
        for own, entry in zip(plan.own, entries, strict=True):
            _write_content(model, own, output, len(header) + entry.offset)
        output.truncate(len(header) + end)
    temporary.replace(target)
    return target


def _begins_with(path: Path, header: bytes) -> bool:
    """Whether the file is there already: all of a window's file follows from its header and the model."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(header)) == header


def _write_content(model: StoredModel, own: OwnTensor, output: BinaryIO, start: int) -> None:
    if own.content == "ones":
        output.seek(start)
        output.write(_ONE * (tensor_bytes(own.kind, own.shape) // len(_ONE)))
    elif isinstance(own.content, Stored):
        shard = model.manifest.shards[own.content.shard]
        with model.path(shard).open("rb") as source:
            copy_range(source, shard.header_bytes + own.content.offset, output, start, own.content.size)
