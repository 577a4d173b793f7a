"""Child process that runs real llama.cpp, whose failures end a process.

python -m tests.support.gguf_llama wanted PROBE.gguf ...
python -m tests.support.gguf_llama quantize SOURCE.gguf TARGET.gguf Q8_0|Q4_K_M
python -m tests.support.gguf_llama buffers MODEL.gguf CONTEXT SLOTS BATCH
python -m tests.support.gguf_llama exact MODEL.gguf ROOT JSON [MODEL.gguf ROOT JSON ...]
    JSON is a list of chains; a chain is {"parts": [[first, last, embedding, head], ...], "shard_size_mb": n}.
    Prints for each model and chain the greatest difference of its logits from the whole model's, or why
    it was refused.
"""

import asyncio
import ctypes
import json
import re
import sys
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np

from app.core.kernel.errors import SwarmError
from app.core.kernel.events import EventBus
from app.core.kernel.window import Window
from app.core.models.library import Library

LIB = Path(llama.__file__).parent / "lib"
ggml = ctypes.CDLL(str(next(LIB.glob("libggml-base.so*"))))
ggml.ggml_get_name.restype = ctypes.c_char_p
ggml.ggml_get_name.argtypes = [ctypes.c_void_p]
ggml.ggml_nbytes.restype = ctypes.c_size_t
ggml.ggml_nbytes.argtypes = [ctypes.c_void_p]
ggml.ggml_n_dims.argtypes = [ctypes.c_void_p]
ggml.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
EVAL = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
FILL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
MESSAGES: list[str] = []
PROMPT = [int(token) for token in np.random.default_rng(1).integers(3, 319, 24)]
STEPS = 5


@llama.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    if level >= 3:
        MESSAGES.append(text.decode(errors="replace"))


llama.llama_log_set(_log, ctypes.c_void_p(0))


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def wanted(probe: str) -> dict[str, list[int]]:
    """The tensors of a model that has only metadata; sizes as numpy orders them."""
    lib = ctypes.CDLL(str(next(LIB.glob("libllama.so*"))))
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    lib.llama_model_init_from_user.restype = ctypes.c_void_p
    lib.llama_model_init_from_user.argtypes = [
        ctypes.c_void_p,
        FILL,
        ctypes.c_void_p,
        llama.llama_model_params,
    ]
    found: dict[str, list[int]] = {}

    def visit(tensor: int, _: Any) -> None:
        extents = list((ctypes.c_int64 * 4).from_address(tensor + 16))[: ggml.ggml_n_dims(tensor)]
        found[ggml.ggml_get_name(tensor).decode()] = [int(extent) for extent in reversed(extents)]

    callback = FILL(visit)
    header = ggml.gguf_init_from_file(probe.encode(), _InitParams(True, None))
    if not lib.llama_model_init_from_user(header, callback, None, llama.llama_model_default_params()):
        raise RuntimeError("llama.cpp refused the metadata: " + "".join(MESSAGES[-6:]))
    return found


class Running:
    """A window in llama.cpp, one sequence."""

    def __init__(self, window: Window) -> None:
        self.window = window
        files = [file.encode() for file in window.files]
        paths = (ctypes.c_char_p * len(files))(*files)
        params = llama.llama_model_default_params()
        if len(files) > 1:
            self.model = llama.llama_model_load_from_splits(paths, len(files), params)
        else:
            self.model = llama.llama_model_load_from_file(files[0], params)
        if not self.model:
            raise RuntimeError(f"loading {window} failed: " + "".join(MESSAGES[-4:]))
        self.width = llama.llama_model_n_embd(self.model)
        options = llama.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = 256, 128, 128
        options.n_threads, options.n_threads_batch, options.swa_full, options.n_seq_max = 1, 1, True, 1
        self._watch = EVAL(self._see)
        if window.capture:
            self._wanted = window.capture.encode()
            options.cb_eval = ctypes.cast(self._watch, type(options.cb_eval))
        self.context = llama.llama_init_from_model(self.model, options)
        if not self.context:
            raise RuntimeError("no context: " + "".join(MESSAGES[-4:]))
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def _see(self, tensor: int, ask: bool, _: Any) -> bool:
        if ask:
            return bool(ggml.ggml_get_name(tensor) == self._wanted)
        size = ggml.ggml_nbytes(tensor)
        self.hidden = np.empty(size // 4, np.float32)
        ggml.ggml_backend_tensor_get(tensor, self.hidden.ctypes.data, 0, size)
        return False

    def run(self, position: int, entering: Any) -> np.ndarray:
        """Token ids or float32 rows in; the last row's logits or all hidden rows out."""
        count = len(entering)
        positions = np.arange(position, position + count, dtype=np.int32)
        batch = llama.llama_batch()
        batch.n_tokens = count
        if self.window.takes == "tokens":
            tokens = (ctypes.c_int32 * count)(*entering)
            batch.token = ctypes.cast(tokens, type(batch.token))
        else:
            rows = np.ascontiguousarray(entering * np.float32(self.window.input_scale), np.float32)
            batch.embd = rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            if self.window.position_rows == 4:
                positions = np.concatenate([positions] * 3 + [np.zeros(count, np.int32)])
        batch.pos = np.ascontiguousarray(positions).ctypes.data_as(type(batch.pos))
        sequence = (ctypes.c_int32 * 1)(0)
        counts = (ctypes.c_int32 * count)(*[1] * count)
        sequences = (ctypes.POINTER(ctypes.c_int32) * count)(*[sequence] * count)
        wants_all = int(self.window.gives == "vectors")
        flags = (ctypes.c_int8 * count)(*[wants_all] * (count - 1), 1)
        batch.n_seq_id = ctypes.cast(counts, type(batch.n_seq_id))
        batch.seq_id = ctypes.cast(sequences, type(batch.seq_id))
        batch.logits = ctypes.cast(flags, type(batch.logits))
        if llama.llama_decode(self.context, batch):
            raise RuntimeError("decoding failed: " + "".join(MESSAGES[-3:]))
        if self.window.gives == "vectors":
            return self.hidden.reshape(count, -1)
        logits = llama.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(logits, (self.n_vocab,)).copy()

    def close(self) -> None:
        llama.llama_free(self.context)
        llama.llama_model_free(self.model)


def greedy(step: Any) -> list[np.ndarray]:
    position, tokens, rows = 0, PROMPT, []
    for _ in range(STEPS):
        logits = step(position, tokens)
        rows.append(logits)
        position, tokens = position + len(tokens), [int(logits.argmax())]
    return rows


async def chain_logits(library: Library, model: str, parts: list[list[Any]]) -> list[np.ndarray]:
    """Runs the windows `parts` one behind the other, fed with embeddings where the first takes vectors."""
    stages = [
        Running(await library.window(model, first, last, embedding=embedding, head=head))
        for first, last, embedding, head in parts
    ]
    width = stages[0].width

    async def embed(tokens: list[int]) -> np.ndarray:
        return np.frombuffer(await library.embed(model, tokens), np.float32).reshape(-1, width)

    position, tokens, rows = 0, PROMPT, []
    for _ in range(STEPS):
        value: Any = tokens if stages[0].window.takes == "tokens" else await embed(tokens)
        for stage in stages:
            alone = stage.window.first == stage.window.last
            start = position + len(tokens) - 1 if alone else position
            value = stage.run(start, value[-1:] if alone else value)
        rows.append(value)
        position, tokens = position + len(tokens), [int(value.argmax())]
    for stage in stages:
        stage.close()
    return rows


async def exact(source: str, root: str, chains: list[dict[str, Any]]) -> list[Any]:
    whole = Running(Window(files=(source,), architecture="", first=0, last=0, n_layers=0))
    reference = greedy(whole.run)
    whole.close()
    results: list[Any] = []

    def fail(error: Exception) -> None:
        raise error

    library = Library(root=Path(root), bus=EventBus(fail), shard_size_mb=chains[0].get("shard_size_mb", 64))
    async with library:
        model = (await library.import_file(Path(source))).id
        for chain in chains:
            try:
                rows = await chain_logits(library, model, chain["parts"])
                pairs = zip(reference, rows, strict=True)
                worst = max(float(np.abs(a - b).max()) for a, b in pairs)
                results.append(worst if np.isfinite(worst) else "not a number")
            except SwarmError as error:
                results.append(f"{error.code}: {error.message}")
    return results


def buffers(path: str, context: int, slots: int, batch: int) -> dict[str, float]:
    """What llama.cpp says it allocates, in MiB, by kind of buffer."""
    lines: list[str] = []

    @llama.llama_log_callback
    def collect(_: int, text: bytes, __: Any) -> None:
        lines.append(text.decode(errors="replace"))

    llama.llama_log_set(collect, ctypes.c_void_p(0))
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch, options.n_seq_max = context * slots, batch, batch, slots
    running = llama.llama_init_from_model(model, options)
    found: dict[str, float] = {}
    for line in "".join(lines).splitlines():
        match = re.search(r"(\w+) buffer size = +([\d.]+) MiB", line)
        if match:
            found[match[1]] = found.get(match[1], 0.0) + float(match[2])
    llama.llama_log_set(_log, ctypes.c_void_p(0))
    llama.llama_free(running)
    llama.llama_model_free(model)
    return found


def quantize(source: str, target: str, kind: str) -> None:
    options = llama.llama_model_quantize_default_params()
    options.ftype, options.nthread = {"Q8_0": 7, "Q4_K_M": 15}[kind], 1
    if llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options)):
        raise RuntimeError("quantizing failed: " + "".join(MESSAGES[-3:]))


def main(arguments: list[str]) -> None:
    if arguments[0] == "wanted":
        result: Any = [wanted(probe) for probe in arguments[1:]]
    elif arguments[0] == "buffers":
        result = buffers(arguments[1], *(int(number) for number in arguments[2:]))
    elif arguments[0] == "quantize":
        result = quantize(*arguments[1:])
    else:
        jobs = zip(arguments[1::3], arguments[2::3], arguments[3::3], strict=True)
        result = [asyncio.run(exact(model, root, json.loads(chains))) for model, root, chains in jobs]
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
