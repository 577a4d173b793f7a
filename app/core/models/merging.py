"""Whether two manifests speak of one model, and what they know of it together. Pure."""

import msgspec

from app.core.models.manifest import Manifest, ShardRecord, content_root, seal


def same_model(mine: Manifest, theirs: Manifest) -> bool:
    """Whether both are the same content cut in the same way, as far as anybody can tell.

    With all hashes known on both sides their roots decide. Otherwise the layouts must be equal, no hash may
    differ, and either both name the same source or they agree on the hash of some weights.
    """
    if mine.root and theirs.root:
        return mine.root == theirs.root
    if _layout(mine) != _layout(theirs):
        return False
    pairs = list(zip(mine.shards, theirs.shards, strict=True))
    if any(a.blake3 and b.blake3 and a.blake3 != b.blake3 for a, b in pairs):
        return False
    weights = any(a.blake3 and a.blake3 == b.blake3 for a, b in pairs if a.kind == "layers")
    return weights or (mine.source == theirs.source and bool(mine.source.revision))


def merged(mine: Manifest, theirs: Manifest) -> Manifest:
    """`mine` with the hashes that only `theirs` knows."""
    shards = tuple(
        msgspec.structs.replace(a, blake3=a.blake3 or b.blake3)
        for a, b in zip(mine.shards, theirs.shards, strict=True)
    )
    return seal(msgspec.structs.replace(mine, shards=shards, root=content_root(shards)))


def _layout(manifest: Manifest) -> tuple[object, ...]:
    blank: tuple[ShardRecord, ...] = tuple(
        msgspec.structs.replace(shard, blake3="") for shard in manifest.shards
    )
    return manifest.facts, manifest.alignment, blank
