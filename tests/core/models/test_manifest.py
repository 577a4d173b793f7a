"""A manifest from a stranger is checked before anything in it is believed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.kernel.errors import BadModelFile
from app.core.models.importing import plan_import
from app.core.models.manifest import (
    FutureManifest,
    Manifest,
    ShardRecord,
    content_root,
    decode,
    encode,
    seal,
)
from tests.support.gguf_models import plain_llama


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = plain_llama(tmp_path_factory.mktemp("source") / "plain.gguf", layers=4)
    plan = plan_import(path, shard_size=1 << 20).manifest
    shards = tuple(msgspec.structs.replace(shard, blake3="ab" * 32) for shard in plan.shards)
    return seal(msgspec.structs.replace(plan, shards=shards, root=content_root(shards)))


def test_a_manifest_is_the_same_bytes_wherever_it_is_written(manifest: Manifest) -> None:
    raw = encode(manifest)
    assert decode(raw) == manifest
    assert encode(decode(raw)) == raw
    assert b" :" not in raw
    keys = list(msgspec.json.decode(raw))
    assert keys == sorted(keys)


def test_shards_whose_data_nobody_has_seen_have_no_hash_yet(manifest: Manifest) -> None:
    shards = (*manifest.shards[:-1], msgspec.structs.replace(manifest.shards[-1], blake3=""))
    partly = seal(msgspec.structs.replace(manifest, shards=shards, root=content_root(shards)))
    assert partly.root == ""
    assert decode(encode(partly)) == partly


def test_a_newer_format_is_told_from_damage(manifest: Manifest) -> None:
    with pytest.raises(FutureManifest, match="has format 7"):
        decode(b'{"format": 7, "anything": [1, 2]}')


def changed(manifest: Manifest, number: int, **values: Any) -> Manifest:
    shards = list(manifest.shards)
    shards[number] = msgspec.structs.replace(shards[number], **values)
    return msgspec.structs.replace(manifest, shards=tuple(shards), root=content_root(tuple(shards)))


def without(manifest: Manifest, index: int) -> Manifest:
    kept = manifest.shards[:index] + manifest.shards[index + 1 :]
    numbered: tuple[ShardRecord, ...] = tuple(
        msgspec.structs.replace(shard, index=number, file=f"{number:03d}-{shard.kind}.gguf")
        for number, shard in enumerate(kept)
    )
    return msgspec.structs.replace(manifest, shards=numbered, root=content_root(numbered))


FALSE_FACTS: list[dict[str, Any]] = [
    {"n_embd": -64},
    {"n_layers": 3},
    {"n_head_kv": (1, 2)},
    {"n_head_kv": (4, 4, 4, -4)},
    {"n_extra_layers": 1},
    {"n_vocab": 1 << 60},
    {"architecture": "x" * 65},
    {"architecture": "a\x00b"},
]


def test_what_does_not_hold_together_is_refused(manifest: Manifest) -> None:
    tensor = manifest.shards[3].tensors[0]
    lies = [
        changed(manifest, 1, file="../../evil.gguf"),
        changed(manifest, 1, index=5),
        changed(manifest, 1, header_bytes=-1),
        changed(manifest, 3, data_bytes=10**12),
        changed(manifest, 3, first=1),
        changed(manifest, 3, last=0),
        changed(manifest, 3, tensors=(msgspec.structs.replace(tensor, kind=4),)),
        changed(manifest, 3, tensors=(msgspec.structs.replace(tensor, offset=8),)),
        changed(manifest, 3, tensors=(msgspec.structs.replace(tensor, shape=(0,)),)),
        changed(manifest, 3, tensors=(msgspec.structs.replace(tensor, shape=(1 << 40, 1 << 40)),)),
        without(manifest, 0),
        without(manifest, 4),
        msgspec.structs.replace(manifest, root="cd" * 32),
        msgspec.structs.replace(manifest, alignment=48),
        msgspec.structs.replace(manifest, shards=()),
        msgspec.structs.replace(manifest, name="x" * 1_000),
        *(
            msgspec.structs.replace(manifest, facts=msgspec.structs.replace(manifest.facts, **facts))
            for facts in FALSE_FACTS
        ),
    ]
    for lie in lies:
        with pytest.raises(BadModelFile, match="The manifest is damaged"):
            decode(encode(seal(lie)))


@pytest.mark.parametrize("digest", ["zz" * 32, "ab", "AB" * 32])
def test_hashes_must_look_like_hashes(manifest: Manifest, digest: str) -> None:
    shards = (msgspec.structs.replace(manifest.shards[0], blake3=digest), *manifest.shards[1:])
    with pytest.raises(BadModelFile):
        decode(encode(seal(msgspec.structs.replace(manifest, shards=shards))))


def test_fields_that_the_format_does_not_have_are_refused(manifest: Manifest) -> None:
    raw = msgspec.json.decode(encode(manifest))
    with pytest.raises(BadModelFile, match="unknown field"):
        decode(msgspec.json.encode({**raw, "extra": 1}))


def test_nothing_of_this_machine_is_in_a_manifest(manifest: Manifest, tmp_path: Path) -> None:
    assert str(tmp_path.parent).encode() not in encode(manifest)
