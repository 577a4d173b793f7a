import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.network.frames import BadFrame, Frame, Tag
from app.core.network.tensors import Coding, TensorCodec, TensorHeader, decode_tensor

random = np.random.default_rng(0)
STATES = random.standard_normal((3, 64), dtype=np.float32)


def test_f32_is_exact() -> None:
    values, about = decode_tensor(TensorCodec(coding="f32").encode(STATES, b"about"))
    np.testing.assert_array_equal(values, STATES)
    assert about == b"about"


@pytest.mark.parametrize(("coding", "error"), [("f16", 2e-3), ("q8_0", 2e-2)])
def test_smaller_codings_come_close(coding: Coding, error: float) -> None:
    frame = TensorCodec(coding=coding).encode(STATES)
    values, _ = decode_tensor(frame)
    assert np.abs(values - STATES).max() < error
    assert len(frame.payload) < STATES.nbytes / (3.7 if coding == "q8_0" else 1.9)


def test_q8_0_is_what_ggml_stores() -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    frame = TensorCodec(coding="q8_0").encode(STATES)
    ggml = dequantize(np.frombuffer(frame.payload, np.uint8).reshape(3, -1), GGMLQuantizationType.Q8_0)
    np.testing.assert_array_equal(decode_tensor(frame)[0], ggml)


def test_compression_is_used_where_it_pays() -> None:
    codec = TensorCodec(coding="f16", threshold=1024)
    flat = codec.encode(np.zeros((8, 4096), np.float32))
    assert len(flat.payload) < 1000
    np.testing.assert_array_equal(decode_tensor(flat)[0], np.zeros((8, 4096), np.float32))
    noise = random.integers(0, 1 << 32, (8, 4096), dtype=np.uint32).view(np.float32)
    plain = TensorCodec(coding="f32", threshold=1024).encode(noise)
    assert plain.payload == noise.tobytes()


def frame_of(header: TensorHeader, payload: bytes, tag: Tag = Tag.TENSOR) -> Frame:
    return Frame(tag, msgspec.msgpack.encode(header), payload)


@pytest.mark.parametrize(
    "frame",
    [
        frame_of(TensorHeader(coding="f32", shape=(1,)), b"123"),
        frame_of(TensorHeader(coding="f32", shape=()), b""),
        frame_of(TensorHeader(coding="f32", shape=(0,)), b""),
        frame_of(TensorHeader(coding="f32", shape=(-1, -4)), bytes(16)),
        frame_of(TensorHeader(coding="f32", shape=(1 << 25, 1 << 25)), b""),
        frame_of(TensorHeader(coding="f32", shape=(1,) * 9), bytes(4)),
        frame_of(TensorHeader(coding="q8_0", shape=(32,)), bytes(34)),
        frame_of(TensorHeader(coding="q8_0", shape=(31,)), bytes(34), Tag.TENSOR_COMPRESSED),
        frame_of(TensorHeader(coding="f32", shape=(2,), zstd=True), b"not zstd"),
        Frame(Tag.TENSOR, b"\xff", b""),
        Frame(Tag.JSON, b"{}"),
    ],
)
def test_headers_that_do_not_fit_their_payload_are_refused(frame: Frame) -> None:
    with pytest.raises(BadFrame):
        decode_tensor(frame)


def test_a_bomb_does_not_unpack() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    with pytest.raises(BadFrame):
        decode_tensor(frame_of(TensorHeader(coding="f32", shape=(2,), zstd=True), bomb))
    nameless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(8))
    with pytest.raises(BadFrame):
        decode_tensor(frame_of(TensorHeader(coding="f32", shape=(2,), zstd=True), nameless))


@given(st.binary(max_size=100), st.binary(max_size=100), st.sampled_from(Tag))
def test_random_frames_are_refused_or_give_a_tensor(header: bytes, payload: bytes, tag: Tag) -> None:
    try:
        values, _ = decode_tensor(Frame(tag, header, payload))
    except BadFrame:
        return
    assert values.dtype == np.float32
