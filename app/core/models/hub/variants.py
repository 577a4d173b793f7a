"""Groups a repository's files into variants of the model and recommends one. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

import msgspec

from app.core.models.gguf.source import SPLIT_NAME
from app.core.models.hub.answers import HubFile, HubRepo
from app.core.models.hub.naming import quantization_of

OVERHEAD: Final = 512 << 20
"""What running takes beside the weights, as long as nobody has read the header: cache, buffers, worker."""

PREFERRED: Final = ("Q4_K_M", "UD-Q4_K_XL", "MXFP4", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_0", "Q5_K_M", "Q8_0")
_ACCESSORIES: Final = ("mmproj", "imatrix")


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A model in one quantization. `files` are all files of a split set, `filename` the first of them."""

    filename: str
    size_bytes: int
    quantization: str
    files: tuple[HubFile, ...]


class FoundRepo(msgspec.Struct, frozen=True, kw_only=True):
    """A repository with its variants, the smallest first. `recommended` is the file name of one, or "".

    `fits_memory` tells whether the recommended one should run within the memory there is.
    """

    repo: HubRepo
    variants: tuple[Variant, ...]
    recommended: str
    fits_memory: bool


def describe_repo(repo: HubRepo, memory: int) -> FoundRepo:
    """`repo` for a computer that has `memory` bytes for models."""
    variants = variants_of(repo.files)
    best = recommend(variants, memory)
    fits = best is not None and _needed(best) <= memory
    return FoundRepo(
        repo=repo, variants=variants, recommended=best.filename if best else "", fits_memory=fits
    )


def variants_of(files: Iterable[HubFile]) -> tuple[Variant, ...]:
    """The models among `files`; incomplete split sets and files that are no models are left out."""
    sets: dict[tuple[str, int], list[HubFile]] = defaultdict(list)
    for file in files:
        name = PurePosixPath(file.path).name
        if name.lower().startswith(_ACCESSORIES) or "imatrix" in name.lower():
            continue
        split = SPLIT_NAME.match(file.path)
        sets[(split["stem"], int(split["count"])) if split else (file.path, 1)].append(file)
    complete = (
        sorted(held, key=lambda file: file.path) for (_, count), held in sets.items() if len(held) == count
    )
    found = [
        Variant(
            filename=held[0].path,
            size_bytes=sum(file.size for file in held),
            quantization=quantization_of(SPLIT_NAME.sub(r"\g<stem>", held[0].path)),
            files=tuple(held),
        )
        for held in complete
    ]
    return tuple(sorted(found, key=lambda variant: (variant.size_bytes, variant.filename)))


def recommend(variants: Sequence[Variant], memory: int) -> Variant | None:
    """The best compromise among those that fit into `memory` bytes, else the smallest of all."""
    fitting = [variant for variant in variants if _needed(variant) <= memory]
    for quantization in PREFERRED:
        for variant in fitting:
            if variant.quantization == quantization:
                return variant
    return fitting[-1] if fitting else next(iter(variants), None)


def _needed(variant: Variant) -> int:
    return variant.size_bytes + OVERHEAD
