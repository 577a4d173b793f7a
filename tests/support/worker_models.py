"""Tiny random models of the Llama architecture, and windows cut out of them, as the worker loads them.

Windows are written as plain GGUF files with renumbered blocks; how the library makes them out of shards
without copying is tested there.
"""

import string
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import gguf
import numpy as np

from app.core.kernel.window import Window

BOS, EOS = 1, 2
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    layers: int = 4
    embd: int = 64
    ff: int = 96
    heads: int = 4
    kv_heads: int = 2
    vocab: int = 512
    context: int = 1024
    architecture: str = "llama"

    @property
    def m_rope(self) -> bool:
        """Whether vectors carry four positions a row."""
        return self.architecture == "qwen2vl"


def write_model(path: Path, shape: Shape = Shape(), *, seed: int = 0, poison: bool = False) -> Path:
    """A random F32 model; with `poison` its output head computes NaN."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    _metadata(writer, shape, shape.layers)
    _vocabulary(writer, shape.vocab)
    for name, data in _tensors(shape, seed).items():
        writer.add_tensor(name, np.full_like(data, np.nan) if poison and name == "output.weight" else data)
    return _written(writer, path)


def write_recurrent(path: Path, *, layers: int = 2, context: int = 1024) -> Path:
    """A random Mamba: its state is of one size however long the sequence, and cannot be cut."""
    rng, embd, inner, state, rank, conv, vocab = np.random.default_rng(0), 32, 64, 8, 4, 4, 512
    writer = gguf.GGUFWriter(path, "mamba")
    _metadata(writer, Shape(layers=layers, embd=embd, ff=0, heads=1, kv_heads=1, context=context), layers)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    _vocabulary(writer, vocab)

    def add(name: str, *size: int, scale: float = 0.3) -> None:
        writer.add_tensor(name, rng.standard_normal(size, np.float32) * np.float32(scale))

    add("token_embd.weight", vocab, embd, scale=1.0)
    for layer in range(layers):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(embd, np.float32))
        add(f"{block}.ssm_in.weight", 2 * inner, embd)
        add(f"{block}.ssm_conv1d.weight", inner, conv)
        add(f"{block}.ssm_conv1d.bias", inner)
        add(f"{block}.ssm_x.weight", rank + 2 * state, inner)
        add(f"{block}.ssm_dt.weight", inner, rank)
        add(f"{block}.ssm_dt.bias", inner)
        decay = -np.exp(rng.standard_normal((inner, state), np.float32))
        writer.add_tensor(f"{block}.ssm_a", decay)
        add(f"{block}.ssm_d", inner)
        add(f"{block}.ssm_out.weight", embd, inner)
    writer.add_tensor("output_norm.weight", np.ones(embd, np.float32))
    add("output.weight", vocab, embd)
    return _written(writer, path)


def write_encoder(path: Path, *, pooling: int = 2, context: int = 64) -> Path:
    """A random BERT of one layer that declares `pooling` (llama.cpp's number; 2 takes the first token's)."""
    rng, embd, ff = np.random.default_rng(0), 32, 48
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *("\u2581" + letter for letter in string.ascii_lowercase),
    ]
    writer = gguf.GGUFWriter(path, "bert")
    _metadata(writer, Shape(embd=embd, ff=ff, heads=2, kv_heads=2, vocab=len(words), context=context), 1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(words)
    writer.add_token_types([3] * 5 + [1] * 26)
    for name, token in {"unk": 1, "cls": 2, "bos": 2, "sep": 3, "eos": 3, "pad": 0}.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id".replace("sep_", "seperator_"), token)

    def add(name: str, *size: int) -> None:
        writer.add_tensor(name, rng.standard_normal(size, np.float32))

    add("token_embd.weight", len(words), embd)
    add("token_types.weight", 2, embd)
    add("position_embd.weight", context, embd)
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        add(f"{name}.weight", embd)
        add(f"{name}.bias", embd)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{name}.weight", embd, embd)
    add("blk.0.ffn_up.weight", ff, embd)
    add("blk.0.ffn_down.weight", embd, ff)
    return _written(writer, path)


def cut(source: Path, path: Path, first: int, last: int, *, total: int) -> Window:
    """Layers `first` to `last` of a `write_model` file: tokens in at 0, logits out at `total`."""
    reader = gguf.GGUFReader(source)
    tensors = {t.name: np.array(t.data).reshape([int(d) for d in t.shape][::-1]) for t in reader.tensors}
    shape = Shape(
        architecture=str(reader.fields["general.architecture"].contents()),
        layers=total,
        embd=tensors["output_norm.weight"].size,
        ff=tensors["blk.0.ffn_gate.weight"].shape[0],
        vocab=len(tensors["token_embd.weight"]),
    )
    starts, ends = first == 0, last == total
    writer = gguf.GGUFWriter(path, shape.architecture)
    rows = shape.vocab if starts or ends else 32
    _metadata(writer, Shape(**{**shape.__dict__, "vocab": rows}), last - first)
    if starts:
        _vocabulary(writer, shape.vocab)
    else:
        writer.add_tokenizer_model("no_vocab")
    embedding = tensors["token_embd.weight"] if starts else np.zeros((rows, shape.embd), np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor(
        "output_norm.weight", tensors["output_norm.weight"] if ends else np.ones(shape.embd, np.float32)
    )
    if ends:
        writer.add_tensor("output.weight", tensors["output.weight"])
    for name, data in tensors.items():
        if name.startswith("blk.") and first <= int(name.split(".")[1]) < last:
            _, number, rest = name.split(".", 2)
            writer.add_tensor(f"blk.{int(number) - first}.{rest}", data)
    _written(writer, path)
    return Window(
        files=(str(path),),
        architecture=shape.architecture,
        first=first,
        last=last,
        n_layers=total,
        takes="tokens" if starts else "vectors",
        gives="logits" if ends else "vectors",
        capture=None if ends else f"l_out-{last - first - 1}",
        position_rows=4 if shape.m_rope else 1,
    )


def _metadata(writer: gguf.GGUFWriter, shape: Shape, layers: int) -> None:
    writer.add_name("tiny")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embd)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.embd // shape.heads)
    writer.add_vocab_size(shape.vocab)
    if shape.m_rope:
        quarter = shape.embd // shape.heads // 8
        writer.add_rope_dimension_sections([quarter, quarter * 2, quarter, 0])


def _vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    words = ("\u2581" + "".join(p) for n in range(1, 4) for p in product(string.ascii_lowercase, repeat=n))
    fixed = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    listed = [*fixed, *string.ascii_lowercase, *islice(words, size - len(fixed) - 26)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(listed)
    writer.add_token_scores([-float(i) for i in range(size)])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (size - 259))
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_chat_template(TEMPLATE)


def _tensors(shape: Shape, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    kv = shape.embd // shape.heads * shape.kv_heads
    matrices = {
        "attn_q": (shape.embd, shape.embd),
        "attn_k": (kv, shape.embd),
        "attn_v": (kv, shape.embd),
        "attn_output": (shape.embd, shape.embd),
        "ffn_gate": (shape.ff, shape.embd),
        "ffn_up": (shape.ff, shape.embd),
        "ffn_down": (shape.embd, shape.ff),
    }

    def normal(*size: int, scale: float = 0.15) -> np.ndarray:
        return rng.standard_normal(size, np.float32) * np.float32(scale)

    tensors = {"token_embd.weight": normal(shape.vocab, shape.embd, scale=1.0)}
    for layer in range(shape.layers):
        for name, size in matrices.items():
            tensors[f"blk.{layer}.{name}.weight"] = normal(*size)
        if shape.m_rope:
            for name, size in (("attn_q", shape.embd), ("attn_k", kv), ("attn_v", kv)):
                tensors[f"blk.{layer}.{name}.bias"] = normal(size)
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = np.ones(shape.embd, np.float32)
    tensors["output_norm.weight"] = np.ones(shape.embd, np.float32)
    tensors["output.weight"] = normal(shape.vocab, shape.embd)
    return tensors


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
