"""Writes random-weight GGUF files of real shapes in seconds, so that speed is measured without downloads.

    python -m bench.random_gguf tinyllama-1.1b q4_k /tmp/tinyllama.gguf

Weights are drawn in the quantized domain: block scales are fixed so that the weights' standard deviation
is 0.02, the quantized values are random bytes. Speed depends on shape and type only, never on the values.
The tokenizer is a SentencePiece one over made-up words, with byte fallback, so that any text tokenizes.
"""

import argparse
import itertools
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Q = gguf.GGMLQuantizationType
WEIGHT_STD = 0.02
POOL_BYTES = 64 << 20
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder-only transformer, in llama.cpp's terms."""

    arch: str
    layers: int
    embd: int
    ff: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    rope_base: float
    qkv_bias: bool = False

    @property
    def head(self) -> int:
        return self.embd // self.heads


SHAPES = {
    "tinyllama-1.1b": Shape("llama", 22, 2048, 5632, 32, 4, 32000, 2048, 10_000.0),
    "qwen2.5-7b": Shape("qwen2", 28, 3584, 18944, 28, 4, 152064, 32768, 1_000_000.0, qkv_bias=True),
    "small": Shape("llama", 8, 512, 1536, 8, 2, 4096, 2048, 10_000.0),
    "tiny": Shape("llama", 4, 256, 512, 4, 2, 1024, 2048, 10_000.0),
}

# (main type, type of the output head, ftype id): the mixes that llama.cpp's own quantizer gives these names.
MIXES = {
    "f16": (Q.F16, Q.F16, 1),
    "q4_0": (Q.Q4_0, Q.Q6_K, 2),
    "q8_0": (Q.Q8_0, Q.Q8_0, 7),
    "q4_k": (Q.Q4_K, Q.Q6_K, 15),
}


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape, rows first, of each tensor in file order."""
    kv = shape.head * shape.kv_heads
    yield "token_embd.weight", (shape.vocab, shape.embd)
    for i in range(shape.layers):
        yield f"blk.{i}.attn_norm.weight", (shape.embd,)
        yield f"blk.{i}.attn_q.weight", (shape.embd, shape.embd)
        yield f"blk.{i}.attn_k.weight", (kv, shape.embd)
        yield f"blk.{i}.attn_v.weight", (kv, shape.embd)
        if shape.qkv_bias:
            yield f"blk.{i}.attn_q.bias", (shape.embd,)
            yield f"blk.{i}.attn_k.bias", (kv,)
            yield f"blk.{i}.attn_v.bias", (kv,)
        yield f"blk.{i}.attn_output.weight", (shape.embd, shape.embd)
        yield f"blk.{i}.ffn_norm.weight", (shape.embd,)
        yield f"blk.{i}.ffn_gate.weight", (shape.ff, shape.embd)
        yield f"blk.{i}.ffn_up.weight", (shape.ff, shape.embd)
        yield f"blk.{i}.ffn_down.weight", (shape.embd, shape.ff)
    yield "output_norm.weight", (shape.embd,)
    yield "output.weight", (shape.vocab, shape.embd)


class RandomBlocks:
    """Draws quantized tensors from one pool of random bytes, each from another offset."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._pool = np.frombuffer(self._rng.bytes(POOL_BYTES), np.uint8)

    def _bytes(self, count: int) -> NDArray[np.uint8]:
        start = int(self._rng.integers(0, POOL_BYTES // 2))
        return np.resize(self._pool[start:], count)

    def draw(self, kind: Q, rows: int, columns: int) -> NDArray[np.uint8]:
        """One matrix [rows, columns] as raw blocks of `kind`."""
        if kind == Q.F16:
            values = self._rng.standard_normal((rows, columns), np.float32) * WEIGHT_STD
            return values.astype(np.float16).view(np.uint8)
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = self._bytes(rows * columns // per_block * block_bytes).reshape(-1, block_bytes)
        _FIX_SCALES[kind](blocks)
        return blocks.reshape(rows, -1)


def _half(value: float) -> NDArray[np.uint8]:
    return np.frombuffer(np.float16(value).tobytes(), np.uint8)


def _fix_q4_0(blocks: NDArray[np.uint8]) -> None:
    blocks[:, :2] = _half(WEIGHT_STD / 4.6)


def _fix_q8_0(blocks: NDArray[np.uint8]) -> None:
    blocks[:, :2] = _half(WEIGHT_STD / 73.9)


def _fix_q4_k(blocks: NDArray[np.uint8]) -> None:
    # every 6-bit scale and minimum is 32: 0b10 in the upper bits, 0 in the packed lower nibbles
    scale = WEIGHT_STD / (32 * 4.6)
    blocks[:, 0:2], blocks[:, 2:4] = _half(scale), _half(scale * 7.5)
    blocks[:, 4:12], blocks[:, 12:16] = 0xA0, 0x00


def _fix_q6_k(blocks: NDArray[np.uint8]) -> None:
    blocks[:, 192:208] = 16
    blocks[:, 208:210] = _half(WEIGHT_STD / (16 * 18.5))


_FIX_SCALES = {Q.Q4_0: _fix_q4_0, Q.Q8_0: _fix_q8_0, Q.Q4_K: _fix_q4_k, Q.Q6_K: _fix_q6_k}


def words(count: int) -> list[str]:
    """`count` different made-up words, with SentencePiece's mark of a leading space."""
    spellings = (p for n in itertools.count(1) for p in itertools.product(string.ascii_lowercase, repeat=n))
    letters = ("\u2581" + "".join(spelling) for spelling in spellings)
    return list(itertools.islice(letters, count))


def _metadata(writer: gguf.GGUFWriter, shape: Shape, file_type: int, name: str) -> None:
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embd)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab)


def _tokenizer(writer: gguf.GGUFWriter, shape: Shape) -> None:
    special = ["<unk>", "<s>", "</s>"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    listed = words(shape.vocab - len(special) - len(bytes_))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(special + bytes_ + listed)
    writer.add_token_scores([-float(i) for i in range(shape.vocab)])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(listed))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)


def write(path: Path, shape: Shape, mix: str = "q4_k", *, seed: int = 0, name: str = "random") -> None:
    """Writes a random model of `shape` to `path`; the same arguments give the same bytes."""
    main, head, file_type = MIXES[mix]
    blocks = RandomBlocks(seed)
    writer = gguf.GGUFWriter(path, shape.arch)
    _metadata(writer, shape, file_type, name)
    _tokenizer(writer, shape)
    plan = [(tensor, size, _kind(tensor, size, main, head)) for tensor, size in tensors(shape)]
    for tensor, size, kind in plan:
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        count = int(np.prod(size)) // per_block * block_bytes
        stored = (*size[:-1], size[-1] // per_block * block_bytes)
        writer.add_tensor_info(
            tensor, stored if kind not in (Q.F16, Q.F32) else size, _dtype(kind), count, kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, size, kind in plan:
        writer.write_tensor_data(_data(blocks, tensor, size, kind))
    writer.close()


def _kind(name: str, size: tuple[int, ...], main: Q, head: Q) -> Q:
    if len(size) == 1:
        return Q.F32
    return head if name == "output.weight" else main


def _dtype(kind: Q) -> "np.dtype[np.generic]":
    return np.dtype({Q.F32: np.float32, Q.F16: np.float16}.get(kind, np.uint8))


def _data(blocks: RandomBlocks, name: str, size: tuple[int, ...], kind: Q) -> NDArray[np.generic]:
    if kind == Q.F32:
        return np.full(size, 0.0 if name.endswith(".bias") else 1.0, np.float32)
    raw = blocks.draw(kind, size[0], size[1])
    return raw.view(np.float16) if kind == Q.F16 else raw


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("mix", choices=MIXES)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    write(options.path, SHAPES[options.shape], options.mix, seed=options.seed, name=f"random {options.shape}")
    size = options.path.stat().st_size
    print(f"{options.path}: {size / 1e6:.0f} MB in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
