"""How models are called: display names, ids for URLs and folders, quantization names."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from app.core.models.gguf.metadata import Metadata
from app.core.models.gguf.reader import Tensor
from app.core.models.gguf.types import FILE_TYPES, TENSOR_TYPES

MAX_NAME: Final = 96
_QUANTIZATION: Final = re.compile(
    r"(?:^|[-._ ])((?:UD-)?(?:I?Q\d(?:_\w+)?|BF16|F16|F32|FP16|MXFP4(?:_MOE)?|NVFP4|TQ\d_\d))$", re.IGNORECASE
)


def quantization_name(metadata: Metadata, tensors: Iterable[Tensor]) -> str:
    """What the file says of itself, else the type that most of its weights have, e.g. "Q4_K_M"."""
    stated = metadata.integer("general.file_type")
    if stated is not None and stated % 1024 in FILE_TYPES:
        return FILE_TYPES[stated % 1024]
    sizes: Counter[int] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            sizes[tensor.kind] += tensor.size
    return TENSOR_TYPES[sizes.most_common(1)[0][0]].name if sizes else "F32"


def display_name(metadata: Metadata, stem: str, quantization: str) -> str:
    """A name for people: the model's own, or its file's, with the quantization behind it."""
    stem = _clean(stem)
    found = _QUANTIZATION.search(stem)
    plain = _QUANTIZATION.sub("", stem).replace("_", " ").replace("-", " ")
    name = _clean(metadata.text("general.name") or "") or _clean(plain)
    label = found[1].upper() if found else quantization
    if _slug(name).endswith(_slug(label)):
        return name[:MAX_NAME]
    return f"{name[: MAX_NAME - len(label) - 1]} {label}".strip()


def model_id(name: str) -> str:
    """`name` as an id: lower case letters, digits, dots, dashes and underscores, e.g. "qwen3-8b-q4_k_m"."""
    slug = _slug(name)[:MAX_NAME].strip("-._")
    return slug if slug and not slug.startswith(".") else "model"


def unused_id(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted-2` and so on where that is taken."""
    names = set(taken)
    candidate, number = wanted, 1
    while candidate in names:
        number += 1
        candidate = f"{wanted}-{number}"
    return candidate


def license_name(metadata: Metadata) -> str:
    """The licence as the file states it, or ""."""
    return _clean(metadata.text("general.license") or metadata.text("general.license.name") or "")[:MAX_NAME]


def _clean(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _slug(text: str) -> str:
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9._-]+", "-", text.lower())).strip("-._")
