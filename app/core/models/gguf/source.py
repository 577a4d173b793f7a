"""A model as it lies on disk before import: one GGUF file or a split set, read as one."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.metadata import Metadata
from app.core.models.gguf.reader import MAX_TENSORS, GgufHeader, Tensor, read_header

SPLIT_NAME: Final = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
MAX_SPLITS: Final = 4_096


class Placed(NamedTuple):
    """A tensor and where its bytes are: from `start` on in file number `file` of the source."""

    tensor: Tensor
    file: int
    start: int


class GgufSource(NamedTuple):
    """The files in order, their headers, and the metadata of the first, which speaks for all."""

    paths: tuple[Path, ...]
    headers: tuple[GgufHeader, ...]

    @property
    def metadata(self) -> Metadata:
        return self.headers[0].metadata

    @property
    def alignment(self) -> int:
        return self.headers[0].alignment

    @property
    def stem(self) -> str:
        """The file name without `.gguf` and without split numbers."""
        split = SPLIT_NAME.match(self.paths[0].name)
        return split["stem"] if split else self.paths[0].stem

    def tensors(self) -> tuple[Placed, ...]:
        return tuple(
            Placed(tensor, number, header.data_offset + tensor.offset)
            for number, header in enumerate(self.headers)
            for tensor in header.tensors
        )


def split_paths(path: Path) -> tuple[Path, ...]:
    """All files of the split set that `path` is one of, or `path` alone."""
    split = SPLIT_NAME.match(path.name)
    if split is None:
        return (path,)
    count = int(split["count"])
    if not 0 < count <= MAX_SPLITS or not 0 < int(split["number"]) <= count:
        raise BadModelFile(f"The file name {path.name} does not belong to a possible split set.")
    names = (f"{split['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))
    return tuple(path.with_name(name) for name in names)


def read_source(path: Path) -> GgufSource:
    """Reads the headers of the model at `path`. Raises BadModelFile if a part is missing or malformed."""
    paths = split_paths(path)
    for part in paths:
        if not part.is_file():
            what = "does not exist" if len(paths) == 1 else "is missing from its split set"
            raise BadModelFile(f"The model file {part.name} {what}.")
    return source_of(paths, tuple(read_header(part) for part in paths))


def source_of(paths: tuple[Path, ...], headers: tuple[GgufHeader, ...]) -> GgufSource:
    """The model whose files, called `paths` wherever they are, have these headers. Raises BadModelFile."""
    source = GgufSource(paths, headers)
    _check_set(source)
    return source


def _check_set(source: GgufSource) -> None:
    count = source.metadata.integer("split.count") or 1
    if count != len(source.paths):
        raise BadModelFile(
            f"The model {source.stem} says it is split into {count} files, but {len(source.paths)} are here."
        )
    for number, header in enumerate(source.headers):
        if header.alignment != source.alignment:
            raise BadModelFile(f"The files of the model {source.stem} have different alignments.")
        if len(source.paths) > 1 and header.metadata.integer("split.no") != number:
            raise BadModelFile(f"The file {source.paths[number].name} is not part {number + 1} of its set.")
    names = [placed.tensor.name for placed in source.tensors()]
    if len(names) > MAX_TENSORS or len(set(names)) != len(names):
        raise BadModelFile(f"The files of the model {source.stem} hold too many tensors, or some twice.")
    stated = source.metadata.integer("split.tensors.count")
    if len(source.paths) > 1 and stated is not None and stated != len(names):
        raise BadModelFile(f"The model {source.stem} should have {stated} tensors but has {len(names)}.")
