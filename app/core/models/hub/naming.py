"""What may be asked of a hub: repositories, files, revisions and the hub's own address. Pure.

Repository ids follow Hugging Face's rules. A name that is checked here is safe in a URL and as a path.
"""

import re
from typing import Final

from yarl import URL

from app.core.kernel.errors import ConfigError, InvalidRequest

MAX_REPO: Final = 96
MAX_FILENAME: Final = 512
_REPO: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_META: Final = frozenset('?#%&:;\\<>|*"`{}^[]')
_QUANTIZATION: Final = re.compile(
    r"(?:^|[-._ /])((?:UD-)?(?:I?Q\d(?:_(?:\d|K|NL|XXS|XS|S|M|L|XL))*|BF16|F16|F32|FP16|MXFP4(?:_MOE)?|NVFP4"
    r"|TQ\d_\d))(?=$|[-._ /])",
    re.IGNORECASE,
)


def check_repo(repo: str) -> str:
    """`repo` if it is an id like "owner/name". Raises InvalidRequest."""
    sound = len(repo) <= MAX_REPO and _REPO.fullmatch(repo)
    if not sound or ".." in repo or "--" in repo or any(part[-1] in ".-" for part in repo.split("/")):
        raise InvalidRequest(
            f"{repo[:MAX_REPO]!r} is no repository id: it has to be like 'owner/name', of letters, digits, "
            f"dots, dashes and underscores, with at most {MAX_REPO} characters.",
            param="repo_id",
        )
    return repo


def check_filename(name: str) -> str:
    """`name` if it is the path of a GGUF file in a repository. Raises InvalidRequest."""
    parts = name.split("/")
    sound = 0 < len(name) <= MAX_FILENAME and name.isprintable() and not _META.intersection(name)
    if not sound or not name.lower().endswith(".gguf") or any(part in {"", ".", ".."} for part in parts):
        raise InvalidRequest(
            f"{name[:MAX_REPO]!r} is no file of a repository: it has to end in '.gguf' and be a plain path.",
            param="filename",
        )
    return name


def check_revision(revision: str) -> str:
    """`revision` if it can be a branch, tag or commit. Raises InvalidRequest."""
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
        raise InvalidRequest(f"{revision[:MAX_REPO]!r} is no branch, tag or commit.", param="revision")
    return revision


def is_commit(revision: str) -> bool:
    return _COMMIT.fullmatch(revision) is not None


def hub_address(text: str) -> URL:
    """The address of a hub. Raises ConfigError unless it is plain http(s)."""
    try:
        url = URL(text.strip().rstrip("/"))
        sound = url.scheme in {"http", "https"} and url.host and not (url.user or url.query or url.fragment)
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError("The hub's address has to be like 'https://huggingface.co'.", param="hub.endpoint")
    return url


def quantization_of(path: str) -> str:
    """The quantization that a file's path names, in capitals; "" if none."""
    found = _QUANTIZATION.findall(path.removesuffix(".gguf"))
    return str(found[-1]).upper() if found else ""
