"""What a hub answers in JSON, as far as it is used here. Fields that are not named are ignored."""

from typing import Final

import msgspec

MAX_NAME: Final = 1_024


class Lfs(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class Sibling(msgspec.Struct, frozen=True, rename={"path": "rfilename", "blob": "blobId"}):
    """A file of a repository. `size`, `lfs` and `blob` are there when they were asked for."""

    path: str
    size: int | None = None
    blob: str = ""
    lfs: Lfs | None = None


class RepoAnswer(msgspec.Struct, frozen=True):
    """A repository. `gated` is False, or tells how access is given."""

    id: str
    sha: str = ""
    private: bool = False
    gated: bool | str = False
    downloads: int = 0
    likes: int = 0
    lastModified: str = ""  # noqa: N815 - the hub's spelling
    tags: list[str] = msgspec.field(default_factory=list)
    siblings: list[Sibling] = msgspec.field(default_factory=list)


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file at a commit. `digest` is "sha256:HEX" of the content or "git:HEX", its Git object id."""

    repo: str
    commit: str
    path: str
    size: int
    digest: str


class HubRepo(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a commit, with its GGUF files."""

    id: str
    commit: str
    gated: bool
    downloads: int
    likes: int
    updated: str
    license: str
    files: tuple[HubFile, ...]


def license_of(tags: list[str]) -> str:
    return next((tag[8:72] for tag in tags if tag.startswith("license:")), "")
