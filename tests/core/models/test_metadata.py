"""What an owner reads of a model's metadata stays small, whatever a file holds."""

from pathlib import Path
from typing import Any

import pytest

from app.core.kernel.errors import BadModelFile
from app.core.models.gguf.types import ValueType
from app.core.models.gguf.writer import array_field, field, preamble
from app.core.models.importing import plan_import
from app.core.models.manifest import Manifest
from app.core.models.metadata import MAX_ITEMS, MAX_TEXT, MAX_TOTAL, describe_metadata
from tests.support.gguf_models import plain_llama


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return plan_import(plain_llama(tmp_path / "plain.gguf", layers=1), shard_size=64 << 20).manifest


def described(manifest: Manifest, path: Path, *fields: bytes) -> dict[str, dict[str, Any]]:
    path.write_bytes(preamble(0, len(fields)) + b"".join(fields))
    return {row["key"]: row for row in describe_metadata(manifest, path)["raw"]}


def test_vocabularies_are_left_out_and_long_values_cut(manifest: Manifest, tmp_path: Path) -> None:
    rows = described(
        manifest,
        tmp_path / "shard",
        field("tokenizer.chat_template", ValueType.STRING, "x" * (MAX_TEXT + 1)),
        array_field("tokenizer.ggml.tokens", ValueType.STRING, ["a", "b"]),
        array_field("llama.few", ValueType.INT32, [1, 2]),
        array_field("llama.names", ValueType.STRING, ["y" * MAX_TEXT, "y"]),
        array_field("llama.many", ValueType.INT32, range(MAX_ITEMS + 1)),
        field("swarm.window", ValueType.STRING, "home"),
    )
    assert set(rows) == {"tokenizer.chat_template", "llama.few", "llama.names", "llama.many"}
    assert rows["llama.few"] == {"key": "llama.few", "value": [1, 2]}
    assert rows["llama.many"] == {"key": "llama.many", "value": None, "truncated": True}
    assert rows["llama.names"]["value"] is None
    assert len(rows["tokenizer.chat_template"]["value"]) == MAX_TEXT
    assert rows["tokenizer.chat_template"]["truncated"]


def test_all_values_together_are_bounded(manifest: Manifest, tmp_path: Path) -> None:
    texts = [field(f"llama.text{i}", ValueType.STRING, "x" * MAX_TEXT) for i in range(100)]
    rows = described(manifest, tmp_path / "shard", *texts)
    assert len(rows) == 100
    assert sum(len(row["value"] or "") for row in rows.values()) <= MAX_TOTAL


def test_fields_of_another_type_are_no_error(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(preamble(0, 1) + array_field("tokenizer.ggml.model", ValueType.INT32, [1]))
    assert describe_metadata(manifest, path)["tokenizer"]["model"] is None
    path.write_bytes(b"GGUF")
    with pytest.raises(BadModelFile):
        describe_metadata(manifest, path)
