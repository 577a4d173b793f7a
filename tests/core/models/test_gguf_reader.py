"""Whatever the bytes, reading a GGUF ends soon, in a header or in a sentence."""

import contextlib
import struct
import tracemalloc
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.core.kernel.errors import BadModelFile
from app.core.models.facts import read_facts
from app.core.models.gguf.reader import HeaderIncomplete, parse_header, read_header
from app.core.models.gguf.source import GgufSource, read_source
from app.core.models.gguf.types import TENSOR_TYPES, ValueType
from app.core.models.gguf.writer import TensorEntry, text
from app.core.models.importing import plan_import
from tests.support.gguf_corpus import file_of, number_field, ordinary, text_field
from tests.support.gguf_models import plain_llama

ORDINARY = ordinary()
TENSOR = TensorEntry("t", (32,), 0, 0)


def test_the_reader_agrees_with_the_reference_implementation(tmp_path: Path) -> None:
    path = plain_llama(tmp_path / "model.gguf", alignment=64)
    ours, theirs = read_header(path), gguf.GGUFReader(path)
    assert [(t.name, t.shape, t.kind, ours.data_offset + t.offset, t.size) for t in ours.tensors] == [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.data_offset), int(t.n_bytes))
        for t in theirs.tensors
    ]
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            value = field.contents()
            array = isinstance(value, list)
            assert (list(ours.metadata.array(key) or ()) if array else ours.metadata.scalar(key)) == value


def test_our_type_table_is_the_reference_implementations() -> None:
    theirs = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: (known.block, known.size) for kind, known in TENSOR_TYPES.items()} == theirs
    assert {kind.name: int(kind) for kind in ValueType} == {
        kind.name: int(kind) for kind in gguf.GGUFValueType
    }


def test_every_value_type_is_read_back() -> None:
    header = parse_header(ORDINARY, len(ORDINARY))
    for kind in ValueType:
        if kind not in {ValueType.STRING, ValueType.ARRAY}:
            assert header.metadata.scalar(f"x.{kind.name.lower()}") == 1
    assert header.metadata.array("tokenizer.ggml.tokens") == ("<unk>", "a", "\u00e9")
    assert header.metadata.text("general.name") == "Corpus"


def raw_field(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "in the middle of its header"),
    "another format": (file_of(magic=b"ELF\x7f"), "does not begin with 'GGUF'"),
    "version 1": (file_of(version=1), "version 1"),
    "version of the future": (file_of(version=9), "version 9"),
    "big-endian": (file_of(version=3 << 24), "big-endian"),
    "too many fields": (file_of(n_fields=1 << 60), "metadata fields; the limit"),
    "too many tensors": (file_of(n_tensors=1 << 63), "tensors; the limit"),
    "more fields than there are": (file_of(n_fields=9), "in the middle"),
    "no such value type": (file_of(fields=[raw_field("a", 77, b"")]), "unknown value type 77"),
    "a string beyond the file": (
        file_of(fields=[raw_field("a", 8, struct.pack("<Q", 1 << 20))]),
        "in the middle",
    ),
    "an endless string": (file_of(fields=[raw_field("a", 8, struct.pack("<Q", 1 << 62))]), "the limit is"),
    "an endless key": (file_of(fields=[struct.pack("<Q", 1 << 40)]), "metadata key of"),
    "a key that is no text": (file_of(fields=[struct.pack("<Q", 2) + b"\xff\xfe" + bytes(5)]), "not UTF-8"),
    "a nameless field": (file_of(fields=[text_field("", "x")]), "a field named ''"),
    "a field twice": (file_of(fields=[text_field("a", "x"), text_field("a", "y")]), "two fields named 'a'"),
    "an array of arrays": (
        file_of(fields=[raw_field("a", 9, struct.pack("<IQ", 9, 1))]),
        "array of arrays",
    ),
    "an endless array": (
        file_of(fields=[raw_field("a", 9, struct.pack("<IQ", 0, 1 << 61))]),
        "array items; the limit",
    ),
    "an array beyond the file": (
        file_of(fields=[raw_field("a", 9, struct.pack("<IQ", 4, 1 << 20))]),
        "in the middle",
    ),
    "strings beyond the file": (
        file_of(fields=[raw_field("a", 9, struct.pack("<IQ", 8, 1 << 20))]),
        "in the middle",
    ),
    "an endless string in an array": (
        file_of(fields=[raw_field("a", 9, struct.pack("<IQQ", 8, 1, 1 << 63))]),
        "holds a string of",
    ),
    "an alignment of text": (file_of(fields=[text_field("general.alignment", "32")]), "not a 32-bit number"),
    "an alignment of nothing": (file_of(fields=[number_field("general.alignment", 0)]), "powers of two"),
    "an odd alignment": (file_of(fields=[number_field("general.alignment", 48)]), "powers of two"),
    "a huge alignment": (file_of(fields=[number_field("general.alignment", 1 << 31)]), "powers of two"),
    "a long tensor name": (file_of(tensors=[TENSOR._replace(name="t" * 64)], data=128), "a tensor name of"),
    "five dimensions": (file_of(tensors=[TENSOR._replace(shape=(1,) * 5)], data=4), "5 dimensions"),
    "no elements": (file_of(tensors=[TENSOR._replace(shape=(0,))]), "impossible shape"),
    "elements without number": (
        file_of(tensors=[TENSOR._replace(shape=(1 << 40, 1 << 40))]),
        "impossible shape",
    ),
    "a negative dimension": (
        file_of(tensors=[TENSOR._replace(shape=((1 << 64) - 32,))]),
        "impossible shape",
    ),
    "no such tensor type": (file_of(tensors=[TENSOR._replace(kind=4)], data=128), "unknown type 4"),
    "rows that do not fit": (
        file_of(tensors=[TENSOR._replace(kind=2, shape=(31,))], data=128),
        "do not fit its type Q4_0",
    ),
    "a tensor twice": (
        file_of(tensors=[TENSOR, TENSOR._replace(offset=128)], data=256),
        "two tensors named 't'",
    ),
    "overlapping tensors": (
        file_of(tensors=[TENSOR, TensorEntry("u", (32,), 0, 64)], data=256),
        "lies at offset 64 of the data; 128 is right",
    ),
    "a tensor somewhere else": (
        file_of(tensors=[TENSOR._replace(offset=1 << 50)], data=256),
        "lies at offset",
    ),
    "a tensor beyond the file": (file_of(tensors=[TENSOR], data=127), "ends 1 bytes behind it"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_malformed_file_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    raw, reason = HOSTILE[name]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(raw)
    with pytest.raises(BadModelFile) as refusal:
        read_header(path)
    assert reason in refusal.value.message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "does not say which architecture"),
        ([number_field("general.architecture", 3)], "is not a text"),
        ([text_field("general.architecture", "llama")], "width of its model"),
        (
            [text_field("general.architecture", "llama"), text_field("llama.block_count", "many")],
            "is not a whole number",
        ),
        (
            [text_field("general.architecture", "llama"), number_field("llama.block_count", 1 << 31)],
            "impossible value",
        ),
    ],
)
def test_metadata_that_makes_no_model_is_refused(fields: list[bytes], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file_of(fields=fields, tensors=[TENSOR], data=128))
    with pytest.raises(BadModelFile, match=reason):
        plan_import(path, shard_size=1 << 20)


def test_a_header_that_arrives_in_pieces_says_how_much_is_missing() -> None:
    whole = parse_header(ORDINARY, len(ORDINARY))
    end = whole.data_offset - 31
    for size in range(0, end - 1, 7):
        with pytest.raises(HeaderIncomplete) as more:
            parse_header(ORDINARY[:size], len(ORDINARY))
        assert size < more.value.needed <= end + 32
    assert parse_header(ORDINARY[: whole.data_offset], len(ORDINARY)).tensors == whole.tensors


def test_memory_grows_with_the_file_and_not_with_what_it_claims(tmp_path: Path) -> None:
    claims = raw_field("a", 9, struct.pack("<IQ", 10, 4 << 20))
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file_of(fields=[claims]))
    tracemalloc.start()
    with pytest.raises(BadModelFile):
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def use(raw: bytes) -> None:
    """Everything the library does with the header of a file, short of copying it."""
    with contextlib.suppress(BadModelFile):
        header = parse_header(raw, len(raw))
        source = GgufSource((Path("fuzz.gguf"),), (header,))
        read_facts(source)
        for key in header.metadata.fields:
            if header.metadata.count(key) is None:
                header.metadata.scalar(key)
            else:
                header.metadata.array(key)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(ORDINARY) - 1), st.integers(0, 255)), max_size=12))
@example([])
def test_flipped_bytes_never_do_harm(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(ORDINARY)
    for position, value in changes:
        raw[position] = value
    use(bytes(raw))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1_200),
    st.sampled_from([0, 1, 31, 2**31, 2**32 - 1, 2**63, 2**64 - 1]),
    st.integers(0, 2_000),
)
def test_absurd_numbers_and_truncation_never_do_harm(position: int, number: int, cut: int) -> None:
    raw = bytearray(ORDINARY)
    raw[position : position + 8] = struct.pack("<Q", number)
    use(bytes(raw[: len(raw) - cut]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_noise_behind_the_magic_never_does_harm(noise: bytes) -> None:
    use(b"GGUF" + struct.pack("<IQQ", 3, 2, 2) + noise)


def test_files_of_a_split_set_must_fit_together(tmp_path: Path) -> None:
    model = ORDINARY
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(model)
    with pytest.raises(BadModelFile, match=r"m-00002-of-00002\.gguf is missing"):
        read_source(tmp_path / "m-00001-of-00002.gguf")
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(model)
    with pytest.raises(BadModelFile, match="split into 1 files, but 2 are here"):
        read_source(tmp_path / "m-00001-of-00002.gguf")
    with pytest.raises(BadModelFile, match="possible split set"):
        read_source(tmp_path / "m-00003-of-00002.gguf")
    with pytest.raises(BadModelFile, match="does not exist"):
        read_source(tmp_path / "missing.gguf")
