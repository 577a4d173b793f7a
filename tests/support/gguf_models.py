"""Tiny random models of any architecture, as GGUF files.

No tensor list is written by hand: llama.cpp itself is asked, in a child process, which tensors it wants
for some metadata (`gguf_llama wanted`).
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.support.gguf_specs import HEADS, KV_HEADS, Spec

ROOT = Path(__file__).parents[2]


def write_gguf(
    path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, alignment: int = 32
) -> None:
    """`metadata` keys that begin with a dot get the architecture's name in front."""
    architecture = metadata["general.architecture"]
    writer = gguf.GGUFWriter(path, architecture)
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    for key, value in metadata.items():
        if key != "general.architecture":
            add_value(writer, architecture + key if key.startswith(".") else key, value)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def child(*arguments: str, timeout: float = 240) -> Any:
    """Runs `gguf_llama` with `arguments`; returns what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.gguf_llama", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"llama.cpp ended with {done.returncode}: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def random_models(specs: Mapping[Path, Spec], *, seed: int = 0) -> None:
    """Writes models with random F16 weights (F32 where llama.cpp expects it)."""
    probes = []
    for path, spec in specs.items():
        probe = path.with_suffix(".probe")
        write_gguf(probe, _trunk(spec.metadata), {})
        probes.append(str(probe))
    for (path, spec), found in zip(specs.items(), child("wanted", *probes), strict=True):
        rng = np.random.default_rng(seed)
        shapes = {name: tuple(shape) for name, shape in found.items()}
        names = _with_extra_blocks(shapes, spec.metadata)
        kept = {name: shape for name, shape in names.items() if not re.search(spec.drop, name)}
        tensors = {name: random_tensor(name, shape, rng) for name, shape in kept.items()}
        write_gguf(path, spec.metadata, tensors)


def random_model(path: Path, spec: Spec, *, seed: int = 0) -> Path:
    """One of `random_models`."""
    random_models({path: spec}, seed=seed)
    return path


def _trunk(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Without the blocks that predict further tokens: llama.cpp ends itself when it lists those."""
    trunk = dict(metadata)
    trunk[".block_count"] -= trunk.pop(".nextn_predict_layers", 0)
    return trunk


def _with_extra_blocks(
    shapes: dict[str, tuple[int, ...]], metadata: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    count, width = metadata[".block_count"], metadata[".embedding_length"]
    first = count - metadata.get(".nextn_predict_layers", 0)
    found = dict(shapes)
    for number in range(first, count):
        copied = {name: shape for name, shape in shapes.items() if name.startswith(f"blk.{first - 1}.")}
        found |= {name.replace(f".{first - 1}.", f".{number}.", 1): shape for name, shape in copied.items()}
        found[f"blk.{number}.nextn.eh_proj.weight"] = (width, 2 * width)
        for norm in ("enorm", "hnorm", "shared_head_norm"):
            found[f"blk.{number}.nextn.{norm}.weight"] = (width,)
    return found


def differences(model: Path, library: Path, parts: list[list[list[Any]]]) -> list[Any]:
    """For each chain of windows: its greatest difference from the whole file's logits, or the refusal."""
    chains = json.dumps([{"parts": chain} for chain in parts])
    (found,) = child("exact", str(model), str(library), chains)
    return list(found)


def random_tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape, np.float32)
    if "rope_freqs" in name or "rope_factors" in name:
        values = np.linspace(1, 4 if "long" in name else 2, shape[-1], dtype=np.float32)
    elif re.search(r"norm.*weight|out_scale|output_scale|ssm_d$|\.scale$", name):
        values = 1 + 0.1 * noise
    elif "ssm_a" in name:
        values = -np.abs(noise) - 0.1
    elif "token_embd" in name:
        values = noise * 0.15
    elif name.endswith("bias") or len(shape) < 2:
        values = noise * 0.1
    else:
        values = noise * 1.5 / np.sqrt(shape[-1])
    return values.astype(np.float16 if _is_matrix(name, shape) else np.float32)


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    special = r"conv1d|norm|ffn_gate_inp|ssm_a|shortconv\.conv|attn_rel"
    return len(shape) >= 2 and name.endswith("weight") and not re.search(special, name)


def plain_llama(
    path: Path,
    *,
    layers: int = 8,
    width: int = 64,
    vocabulary: int = 96,
    seed: int = 0,
    tied: bool = False,
    alignment: int = 32,
    shuffled: bool = False,
    name: str = "Plain Llama",
) -> Path:
    """A small llama model whose tensors are written by hand, for tests that need no llama.cpp."""
    rng = np.random.default_rng(seed)
    tensors = {
        "token_embd.weight": (vocabulary, width),
        "output_norm.weight": (width,),
        "rope_freqs.weight": (8,),
    }
    if not tied:
        tensors["output.weight"] = (vocabulary, width)
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            tensors[f"blk.{layer}.{part}.weight"] = (width, width)
        for part in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{part}.weight"] = (width,)
    names = list(tensors)
    if shuffled:
        rng.shuffle(names)
    metadata = {
        "general.architecture": "llama",
        "general.name": name,
        "general.license": "apache-2.0",
        ".block_count": layers,
        ".context_length": 512,
        ".embedding_length": width,
        ".feed_forward_length": width,
        HEADS: 4,
        KV_HEADS: 4,
        ".attention.layer_norm_rms_epsilon": 1e-5,
        ".vocab_size": vocabulary,
        "tokenizer.ggml.model": "no_vocab",
    }
    data = {key: random_tensor(key, tensors[key], rng) for key in names}
    write_gguf(path, metadata, data, alignment=alignment)
    return path
