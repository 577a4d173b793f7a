"""A shard's data is the source's data: byte for byte, in whole layers, within the size asked for."""

import random
from pathlib import Path

import gguf
import pytest
from blake3 import blake3

from app.core.models.cutting import plan_shards
from app.core.models.gguf.reader import read_header
from app.core.models.gguf.source import read_source
from app.core.models.manifest import Manifest
from tests.support.gguf_library import library_at
from tests.support.gguf_models import plain_llama


async def imported(root: Path, source: Path) -> tuple[Manifest, Path]:
    async with library_at(root) as library:
        model = (await library.import_file(source)).id
        return library.manifest(model), root / model / "shards"


@pytest.mark.parametrize("options", [{}, {"shuffled": True}, {"alignment": 256}, {"tied": True}])
async def test_shards_hold_the_bytes_of_their_ranges(tmp_path: Path, options: dict[str, bool | int]) -> None:
    source = plain_llama(tmp_path / "model.gguf", **options)  # type: ignore[arg-type]
    manifest, shards = await imported(tmp_path / "models", source)
    whole = source.read_bytes()
    for shard in manifest.shards:
        data = (shards / shard.file).read_bytes()[shard.header_bytes :]
        expected = b""
        for part in shard.ranges:
            gap = -len(expected) % manifest.alignment if shard.kind != "metadata" else 0
            expected += bytes(gap) + whole[part.start : part.start + part.length]
        assert data == expected
        assert shard.blake3 == blake3(data).hexdigest()


async def test_every_shard_is_a_gguf_with_the_tensors_of_the_source(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "model.gguf", shuffled=True)
    manifest, shards = await imported(tmp_path / "models", source)
    wanted = {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(source).tensors}
    found: dict[str, bytes] = {}
    for shard in manifest.shards:
        read_header(shards / shard.file)
        for tensor in gguf.GGUFReader(shards / shard.file).tensors:
            found[tensor.name] = tensor.data.tobytes()
    assert found == wanted


async def test_layers_lie_in_order_and_the_rest_in_shards_of_its_own(tmp_path: Path) -> None:
    manifest, _ = await imported(tmp_path / "models", plain_llama(tmp_path / "model.gguf"))
    kinds = [shard.kind for shard in manifest.shards]
    assert kinds == ["metadata", "embedding", "globals", *["layers"] * 8, "head"]
    spans = [(shard.first, shard.last) for shard in manifest.shards if shard.kind == "layers"]
    assert spans == [(layer, layer + 1) for layer in range(8)]
    assert all(len(shard.ranges) == 1 for shard in manifest.shards if shard.kind == "layers")
    names = {tensor.name for tensor in manifest.shards[-1].tensors}
    assert names == {"output.weight", "output_norm.weight"}


def test_shards_keep_to_the_size_asked_for(tmp_path: Path) -> None:
    source = read_source(plain_llama(tmp_path / "model.gguf", layers=40))
    layer = sum(p.tensor.size for p in source.tensors() if p.tensor.name.startswith("blk.0."))
    for limit, each in ((1, 1), (3 * layer, 3), (100 * layer, 5)):
        shards = plan_shards(source, "llama", 40, limit)
        held = [shard.last - shard.first for shard in shards if shard.kind == "layers"]
        assert sum(held) == 40
        assert max(held) == each


async def test_a_split_set_is_cut_as_if_it_were_one_file(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "model.gguf")
    parts = split(source, tmp_path / "parts", 3)
    whole, whole_shards = await imported(tmp_path / "one", source)
    pieces, piece_shards = await imported(tmp_path / "three", parts[1])
    assert [file.name for file in pieces.source.files] == [part.name for part in parts]
    for one, other in zip(whole.shards[1:], pieces.shards[1:], strict=True):
        assert one.tensors == other.tensors
        assert one.blake3 == other.blake3
    assert (whole_shards / "003-layers.gguf").is_file()
    assert (piece_shards / "003-layers.gguf").is_file()


def split(source: Path, folder: Path, count: int) -> list[Path]:
    """What gguf-split makes of `source`."""
    folder.mkdir()
    reader = gguf.GGUFReader(source)
    tensors, paths = list(reader.tensors), list[Path]()
    step = -(-len(tensors) // count)
    for number in range(count):
        path = folder / f"model-{number + 1:05d}-of-{count:05d}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for key, field in reader.fields.items():
                if not key.startswith("GGUF.") and key != "general.architecture":
                    writer.add_key_value(key, field.contents(), field.types[0])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(tensors))
        for tensor in tensors[number * step : (number + 1) * step]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


async def test_two_imports_make_the_same_bytes(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "model.gguf")
    one, one_shards = await imported(tmp_path / "one", source)
    other, other_shards = await imported(tmp_path / "other", source)
    assert one == other
    for shard in one.shards:
        assert (one_shards / shard.file).read_bytes() == (other_shards / shard.file).read_bytes()


def test_the_plan_does_not_depend_on_chance(tmp_path: Path) -> None:
    source = read_source(plain_llama(tmp_path / "model.gguf"))
    random.seed(1)
    first = plan_shards(source, "llama", 8, 1 << 20)
    random.seed(2)
    assert plan_shards(source, "llama", 8, 1 << 20) == first
