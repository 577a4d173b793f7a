"""Finds models that other programs have already put on this disk. Blocking, for threads.

Ollama keeps blobs under their SHA-256 and manifests that name them, LM Studio keeps plain folders, the
Hugging Face cache keeps links from snapshots to blobs. Everything found is only listed; importing it
shares blocks with the other program's file where the filesystem can.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import msgspec

from app.core.models.gguf.source import SPLIT_NAME, split_paths

log = logging.getLogger(__name__)

MAX_FOUND: Final = 1_000
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 6
_MODEL_LAYER: Final = "application/vnd.ollama.image.model"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model that could be imported; `repo` and `revision` where the Hugging Face hub is its origin."""

    program: Literal["ollama", "lmstudio", "huggingface"]
    name: str
    path: Path
    size_bytes: int
    repo: str = ""
    revision: str = ""


class _Layer(msgspec.Struct):
    mediaType: str = ""  # noqa: N815 - Ollama's spelling
    digest: str = ""


class _OllamaManifest(msgspec.Struct):
    layers: list[_Layer] = msgspec.field(default_factory=list)


_manifest_decoder = msgspec.json.Decoder(_OllamaManifest)


def discover(home: Path, environ: Mapping[str, str]) -> tuple[Candidate, ...]:
    """Every model in the usual places, of which `environ` may name others (OLLAMA_MODELS, HF_HOME...)."""
    found = {
        candidate.path: candidate
        for finder in (_ollama, _lm_studio, _hugging_face)
        for candidate in islice(_readable(finder(home, environ)), MAX_FOUND)
    }
    return tuple(sorted(found.values(), key=lambda candidate: (candidate.program, candidate.name)))


def _readable(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """What can be seen of one program's models; another user's folders cost no more than themselves."""
    try:
        yield from candidates
    except OSError as error:
        log.warning("The models of another program cannot be listed: %s", error)


def _ollama(home: Path, environ: Mapping[str, str]) -> Iterator[Candidate]:
    named = environ.get("OLLAMA_MODELS")
    system = Path("/usr/share/ollama/.ollama/models")
    for root in [Path(named)] if named else [home / ".ollama" / "models", system]:
        manifests = root / "manifests"
        for path in _files(manifests):
            blob = _ollama_blob(path, root)
            if blob is not None:
                parts = path.relative_to(manifests).parts[1:]
                name = "/".join(part for part in parts[:-1] if part != "library")
                yield _candidate("ollama", f"{name}:{parts[-1]}" if name else parts[-1], blob)


def _ollama_blob(manifest: Path, root: Path) -> Path | None:
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        layers = _manifest_decoder.decode(manifest.read_bytes()).layers
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    for layer in layers:
        name = layer.digest.replace(":", "-")
        if layer.mediaType == _MODEL_LAYER and name.replace("-", "").isalnum():
            blob = root / "blobs" / name
            return blob if blob.is_file() else None
    return None


def _lm_studio(home: Path, environ: Mapping[str, str]) -> Iterator[Candidate]:
    named = environ.get("LMSTUDIO_MODELS_DIR")
    usual = [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]
    for root in [Path(named)] if named else usual:
        for path in _models(root):
            repo = "/".join(path.relative_to(root).parts[:-1])
            yield _candidate("lmstudio", path.name, path, repo=repo if repo.count("/") == 1 else "")


def _hugging_face(home: Path, environ: Mapping[str, str]) -> Iterator[Candidate]:
    base = Path(environ.get("HF_HOME") or home / ".cache" / "huggingface")
    root = Path(environ.get("HF_HUB_CACHE") or base / "hub")
    for folder in _folders(root):
        if not folder.name.startswith("models--"):
            continue
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        for snapshot in _folders(folder / "snapshots"):
            for path in _models(snapshot):
                yield _candidate("huggingface", path.name, path, repo=repo, revision=snapshot.name)


def _models(root: Path) -> Iterator[Path]:
    """The GGUF models below `root`: of a split set its first file, if all are there; no projectors."""
    for path in _files(root):
        split = SPLIT_NAME.match(path.name)
        later_part = split is not None and int(split["number"]) != 1
        if path.suffix.lower() != ".gguf" or later_part or "mmproj" in path.name.lower():
            continue
        if split is None or all(part.is_file() for part in split_paths(path)):
            yield path


def _candidate(
    program: Literal["ollama", "lmstudio", "huggingface"],
    name: str,
    path: Path,
    *,
    repo: str = "",
    revision: str = "",
) -> Candidate:
    parts = split_paths(path) if program != "ollama" else (path,)
    size = sum(part.stat().st_size for part in parts)
    return Candidate(program=program, name=name, path=path, size_bytes=size, repo=repo, revision=revision)


def _files(root: Path) -> Iterator[Path]:
    """Files below `root`, links to files included, to a bounded depth."""
    for folder, folders, names in os.walk(root):
        if len(Path(folder).relative_to(root).parts) >= MAX_DEPTH:
            folders.clear()
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(folder, name)).is_file())


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if path.is_dir())
