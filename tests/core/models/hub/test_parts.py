"""The small parts: layouts cover every byte once, journals survive torn tails, shares cover a model."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.kernel.errors import ConfigError
from app.core.models.hub.failures import retry_after
from app.core.models.hub.hub import endpoint_of
from app.core.models.hub.journal import Journal
from app.core.models.hub.layout import REST, Layout, plan_layout
from app.core.models.hub.naming import hub_address, quantization_of
from app.core.models.hub.pace import Bandwidth, Drip, Speed
from app.core.models.hub.share import fair_share
from app.core.models.importing import plan_import
from tests.support.gguf_models import plain_llama

FINGERPRINT = bytes(range(32))


@pytest.mark.parametrize("alignment", [32, 256])
@pytest.mark.parametrize("step", [1_000, 65_536, 1 << 30])
def test_a_layout_covers_every_byte_once(tmp_path: Path, alignment: int, step: int) -> None:
    path = plain_llama(tmp_path / "model.gguf", layers=4, width=32, alignment=alignment, shuffled=True)
    plan = plan_import(path, shard_size=1 << 26)
    offset, content = plan.source.headers[0].data_offset, path.read_bytes()
    wanted = range(len(plan.manifest.shards))
    layout = plan_layout(plan.manifest, data_offsets=[offset], wanted=wanted, whole=True, step=step)
    assert sum(piece.length for piece in layout.pieces) == layout.total == len(content) - offset
    positions = [(piece.start, piece.start + piece.length) for piece in layout.pieces]
    assert [end for _, end in positions[:-1]] == [start for start, _ in positions[1:]]
    places = set()
    for piece in layout.pieces:
        parts = list(layout.within(*piece))
        assert sum(part.length for part in parts) == piece.length
        places |= {(part.shard, part.offset + step) for part in parts for step in (0, part.length - 1)}
    spans = [(part.shard, part.offset, part.length) for part in layout.segments[0]]
    assert len({(shard, start) for shard, start, _ in spans}) == len(spans)
    assert any(shard == REST for shard, _, _ in spans) == (layout.rest_bytes > 0)
    assert places


def test_a_part_of_a_model_needs_only_its_bytes(tmp_path: Path) -> None:
    plan = plan_import(plain_llama(tmp_path / "model.gguf"), shard_size=1 << 26)
    offset = plan.source.headers[0].data_offset
    layout = plan_layout(plan.manifest, data_offsets=[offset], wanted={0, 4, 5}, whole=False)
    shards = {part.shard for piece in layout.pieces for part in layout.within(*piece)}
    assert shards == {4, 5}
    assert layout.total == sum(plan.manifest.shards[index].data_bytes for index in (4, 5))


def journal(path: Path, *, fingerprint: bytes = FINGERPRINT) -> Journal:
    opened = Journal(path, fingerprint=fingerprint, count=100)
    opened.open()
    return opened


@settings(max_examples=20)
@given(cut=st.integers(0, 10 * 48))
def test_a_torn_journal_keeps_what_was_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    full = journal(path)
    for number in range(9):
        full.add(number, bytes([number]) * 32)
    full.close()
    path.write_bytes(path.read_bytes()[:cut])
    torn = journal(path)
    assert sorted(torn.proven) == list(range(max(0, cut // 48 - 1)))
    torn.add(50, b"x" * 32)
    torn.close()
    again = journal(path)
    again.close()
    assert again.proven == torn.proven
    assert 50 in again.proven


@settings(max_examples=30)
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_a_journal_of_nothing(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    path.write_bytes(raw)
    opened = journal(path)
    opened.close()
    assert opened.proven == {}


def test_the_journal_of_another_download_does_not_count(tmp_path: Path) -> None:
    first = journal(tmp_path / "journal")
    first.add(1, b"x" * 32)
    first.close()
    other = journal(tmp_path / "journal", fingerprint=b"y" * 32)
    other.close()
    assert other.proven == {}


def test_different_pieces_are_different_layouts(tmp_path: Path) -> None:
    plan = plan_import(plain_llama(tmp_path / "model.gguf"), shard_size=1 << 26)
    offset = plan.source.headers[0].data_offset

    def layout(step: int) -> Layout:
        return plan_layout(plan.manifest, data_offsets=[offset], wanted={1, 2}, whole=False, step=step)

    assert layout(1 << 12).fingerprint() == layout(1 << 12).fingerprint()
    assert layout(1 << 12).fingerprint() != layout(1 << 11).fingerprint()


def test_shares_are_equal_stable_and_cover_the_model(tmp_path: Path) -> None:
    shards = plan_import(plain_llama(tmp_path / "model.gguf", layers=16), shard_size=1 << 26).manifest.shards
    layers = {shard.index for shard in shards if shard.kind == "layers"}
    shares = [
        fair_share(shards, node_id=f"{node:064x}", model_id="plain-llama", nodes=3) for node in range(60)
    ]
    assert {len(share & layers) for share in shares} == {-(-len(layers) // 3)}
    assert frozenset().union(*shares) == {shard.index for shard in shards}
    assert shares[7] == fair_share(shards, node_id=f"{7:064x}", model_id="plain-llama", nodes=3)
    assert fair_share(shards, node_id="ab", model_id="x", nodes=1) == {shard.index for shard in shards}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("model.i1-IQ3_XXS.gguf", "IQ3_XXS"),
        ("tinyllama-1.1b-chat-v1.0.q8_0.gguf", "Q8_0"),
        ("UD-Q4_K_XL/model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Q6_K/model.gguf", "Q6_K"),
        ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("model-bf16.gguf", "BF16"),
        ("model.gguf", ""),
    ],
)
def test_quantizations_are_read_off_paths(path: str, expected: str) -> None:
    assert quantization_of(path) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("9" * 100, None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    assert retry_after(header, datetime(2026, 11, 22, 12, tzinfo=UTC)) == expected


async def test_bandwidth_is_shared_out_evenly() -> None:
    now, slept = 100.0, list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    limit = Bandwidth(bytes_per_second=1000, clock=lambda: now, sleep=sleep)
    for _ in range(3):
        await limit.take(500)
    assert slept == [0.5, 1.0, 1.5]
    now = 200.0
    await limit.take(100)
    assert slept[-1] == pytest.approx(0.1)
    await Bandwidth(bytes_per_second=0, clock=time.monotonic, sleep=sleep).take(1 << 30)
    assert len(slept) == 4


def test_a_server_that_only_drips_is_noticed() -> None:
    drip = Drip()
    assert not any(drip.too_slow(1, 1.0) for _ in range(59))
    assert drip.too_slow(1, 1.0)
    assert not any(drip.too_slow(100_000, 20.0) for _ in range(30))
    assert not any(drip.too_slow(1, 1.0) for _ in range(59))


def test_speed_is_that_of_the_last_seconds() -> None:
    now = 0.0
    speed = Speed(lambda: now)
    assert speed.bytes_per_second() == 0
    for moment in (0.0, 1.0, 2.0):
        now = moment
        speed.add(1000)
    assert speed.bytes_per_second() == 1500
    now = 11.5
    assert speed.bytes_per_second() == pytest.approx(1000 / 9.5)
    now = 60.0
    assert speed.bytes_per_second() == 0


def test_the_hub_is_the_options_or_the_environments() -> None:
    assert endpoint_of("", {}) == "https://huggingface.co"
    assert endpoint_of("", {"HF_ENDPOINT": "https://mirror.example"}) == "https://mirror.example"
    assert endpoint_of("https://own.example", {"HF_ENDPOINT": "https://x"}) == "https://own.example"
    for wrong in ("ftp://x", "huggingface.co", "https://user:word@x", "https://x/?q=1", "http://["):
        with pytest.raises(ConfigError):
            hub_address(wrong)
