"""Speed of a node as ratios against llama.cpp in the same run.

    make bench                              the TinyLlama shape, Q4_K
    python -m bench.engine --shape small    quick

The node and a bare llama.cpp take turns in every round, because a small shared machine is noisy; each ratio
is the median over the rounds. The node is asked over HTTP as any client would.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import random_gguf
from bench.llama_baseline import Baseline
from bench.node_process import Answer, NodeProcess

PROMPT = 512
DECODE = 96


class Bench:
    """One node, one model, one baseline."""

    def __init__(self, node: NodeProcess, model: str, baseline: Baseline, vocab: int) -> None:
        self._node = node
        self._model = model
        self._baseline = baseline
        self._rng = np.random.default_rng(int(time.time()))
        self._vocab = vocab

    def prompt(self, count: int) -> list[int]:
        return [int(t) for t in self._rng.integers(300, self._vocab, count)]

    def _ask(self, prompt: list[int], tokens: int) -> Answer:
        return self._node.complete(self._model, prompt, tokens)

    def warm(self) -> None:
        self._ask(self.prompt(16), 8)
        self._baseline.ask("decode", 8)

    def decode(self) -> float:
        """Tokens a second of one stream, node over llama.cpp."""
        bare = self._baseline.ask("decode", DECODE)
        answer = self._ask(self.prompt(16), DECODE)
        return bare / (DECODE - 1) * (answer.tokens - 1) / (answer.last - answer.first)

    def prefill(self) -> float:
        """Tokens a second of a prompt of 512, node over llama.cpp."""
        bare = self._baseline.ask("prefill", PROMPT)
        return bare / self._ask(self.prompt(PROMPT), 2).first

    def streams(self) -> float:
        """Tokens a second of eight streams over one stream's, both of the node."""
        one = self._ask(self.prompt(16), DECODE)
        answers: list[Answer] = []

        def stream(prompt: list[int]) -> None:
            answers.append(self._ask(prompt, DECODE))

        threads = [threading.Thread(target=stream, args=(self.prompt(16),)) for _ in range(8)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        together = sum(answer.tokens for answer in answers) / (time.perf_counter() - start)
        return together / (one.tokens / one.last)

    def resend(self) -> float:
        """First token of a prompt of 513 tokens: the first time over the second time."""
        prompt = self.prompt(PROMPT + 1)
        cold = self._ask(prompt, 2)
        warm = self._ask(prompt, 2)
        return cold.first / warm.first


def median(measure: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    values = [measure() for _ in range(rounds)]
    return statistics.median(values), min(values), max(values)


def run(shape: str, mix: str, rounds: int, threads: int, folder: Path) -> dict[str, dict[str, float]]:
    model = folder / "model.gguf"
    random_gguf.write(model, random_gguf.SHAPES[shape], mix, name=f"random {shape}")
    results: dict[str, dict[str, float]] = {}
    with NodeProcess(folder) as node:
        results["ready_seconds"] = {"value": node.ready_seconds, "limit": 2.0}
        time.sleep(3)
        results["idle_megabytes"] = {"value": node.memory() / 1e6, "limit": 120.0}
        name = node.add_model(model)
        baseline = Baseline(model, threads)
        try:
            bench = Bench(node, name, baseline, random_gguf.SHAPES[shape].vocab)
            bench.warm()
            for title, measure, goal in (
                ("decode", bench.decode, 0.95),
                ("prefill", bench.prefill, 0.95),
                ("eight_streams", bench.streams, 1.6),
                ("resent_prompt", bench.resend, 25.0),
            ):
                middle, low, high = median(measure, rounds)
                results[title] = {"value": middle, "low": low, "high": high, "goal": goal}
        finally:
            baseline.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=random_gguf.SHAPES, default="tinyllama-1.1b")
    parser.add_argument("--mix", choices=random_gguf.MIXES, default="q4_k")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options.shape, options.mix, options.rounds, options.threads, Path(folder))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.shape} {options.mix}, {options.threads} of {os.cpu_count()} cores, {platform.machine()}")
    for title, row in results.items():
        spread = f"  ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else ""
        wanted = f">= {row['goal']}" if "goal" in row else f"<= {row['limit']}"
        print(f"{title:16} {row['value']:8.2f}  wanted {wanted}{spread}")


if __name__ == "__main__":
    main()
