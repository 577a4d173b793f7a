"""llama.cpp in one process with nothing around it: what the node's speed is held against.

Runs as a child that obeys one command a line, so that a bench can take turns between it and a node:

    decode N      N greedy tokens after a prompt of 16    -> seconds between the first and the last
    prefill N     a prompt of N tokens and its first token -> seconds
"""

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


class Bare:
    """A context of `n_ctx` tokens, one sequence, and llama.cpp's own greedy sampler."""

    def __init__(self, path: str, threads: int, n_ctx: int) -> None:
        import llama_cpp as llama

        self._llama = llama
        self._quiet = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self._model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, 512, 512
        params.n_threads = params.n_threads_batch = threads
        self._context = llama.llama_init_from_model(self._model, params)
        self._vocab = llama.llama_model_get_vocab(self._model)
        self._sampler = llama.llama_sampler_init_greedy()
        self._seed = 0

    def _prompt(self, count: int) -> list[int]:
        self._seed += 1
        size = self._llama.llama_vocab_n_tokens(self._vocab)
        return [int(t) for t in np.random.default_rng(self._seed).integers(300, size, count)]

    def _feed(self, tokens: list[int]) -> int:
        array = (self._llama.llama_token * len(tokens))(*tokens)
        batch = self._llama.llama_batch_get_one(array, len(tokens))
        if self._llama.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        return int(self._llama.llama_sampler_sample(self._sampler, self._context, -1))

    def _clear(self) -> None:
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)

    def decode(self, count: int) -> float:
        self._clear()
        token = self._feed(self._prompt(16))
        start = time.perf_counter()
        for _ in range(count - 1):
            token = self._feed([token])
        return time.perf_counter() - start

    def prefill(self, count: int) -> float:
        self._clear()
        prompt = self._prompt(count)
        start = time.perf_counter()
        self._feed(prompt)
        return time.perf_counter() - start


class Baseline:
    """The child, seen from the bench."""

    def __init__(self, model: Path, threads: int, n_ctx: int = 1024) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.llama_baseline", str(model), str(threads), str(n_ctx)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str, count: int) -> float:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{command} {count}\n")
        self._child.stdin.flush()
        return float(json.loads(self._child.stdout.readline()))

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(10)


def main() -> None:
    bare = Bare(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    for line in sys.stdin:
        command, count = line.split()
        seconds = bare.decode(int(count)) if command == "decode" else bare.prefill(int(count))
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
