"""Compares the finished file in llama.cpp with what was trained: tokens of 1000 lines, and logits.

The two sides may live in different environments, so this runs in two steps:
``python -m tools.guide.check reference`` where PyTorch is, then ``python -m tools.guide.check compare``
where llama-cpp-python is.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np

from tools.guide.corpus import Corpus, render

ROOT = Path(__file__).parents[2]
PROMPT = "<|im_start|>user\nhow do i join a network?<|im_end|>\n<|im_start|>assistant\n"
ODD = (
    "naïve café Ünïcödé",
    "😀🎉 emoji 👩‍👩‍👧‍👦 ok",
    "你好，世界 123",  # noqa: RUF001
    "Привет мир 42!",
    "tab\tand\n\n  spaces   end  ",
    "don't I'LL we've",
    "<|im_start|>user\nhi<|im_end|>\n",
    "a  b\r\nc",
    "x=1;y+=2 // ok",
    "١٢٣ ½ Ⅷ",
    "مرحبا",
    "e\u0301 combining",
    "\u200bzero",
    "<|im_end|><|endoftext|>",
    " lead",
    "trail ",
    "```python\nprint(1)\n```\n",
)


def lines(count: int = 1000) -> list[str]:
    """Odd texts, mixtures of their beginnings, and dialogues."""
    rng = random.Random(7)
    mixed = ["".join(rng.choice(ODD)[: rng.randrange(1, 12)] for _ in range(4)) for _ in range(283)]
    made = Corpus(77).dialogues(count - len(ODD) - len(mixed))
    return [*ODD, *mixed, *("".join(piece for piece, _ in render(dialogue)) for dialogue in made)]


def reference(work: Path) -> None:
    """Write down what the trained tokenizer and the trained weights give."""
    import torch

    from tools.guide import tokens
    from tools.guide.export import read_weights
    from tools.guide.network import Guide, Shape

    tokenizer = tokens.load(work / "tokenizer.json")
    model = Guide(Shape())
    read_weights(work / "guide.pt", model)
    model.eval()
    ids = tokenizer.encode(PROMPT).ids
    with torch.no_grad():
        for _ in range(60):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
            if ids[-1] == tokenizer.token_to_id(tokens.TURN_END):
                break
        logits = model(torch.tensor([ids]))[0].numpy()
    np.save(work / "logits.npy", logits)
    content = {"ids": [tokenizer.encode(line).ids for line in lines()], "dialogue": ids}
    (work / "reference.json").write_text(json.dumps(content), encoding="utf-8")
    print(tokenizer.decode(ids))


def compare(work: Path, path: Path) -> bool:
    """Whether llama.cpp cuts every line into the same tokens and makes the same choices."""
    import llama_cpp

    content = json.loads((work / "reference.json").read_text(encoding="utf-8"))
    model = llama_cpp.Llama(str(path), n_ctx=512, n_threads=2, verbose=False, logits_all=True)
    mine = [model.tokenize(line.encode(), add_bos=False, special=True) for line in lines()]
    different = sum(a != b for a, b in zip(mine, content["ids"], strict=True))
    print(f"tokens: {len(mine)} lines, {different} different")
    expected = np.load(work / "logits.npy")
    model.eval(content["dialogue"])
    logits = model.scores[: len(expected)]
    same = bool((logits.argmax(1) == expected.argmax(1)).all())
    difference = np.abs(logits - expected).max()
    print(f"logits: largest difference {difference:.3f} in a range of {np.ptp(expected):.1f}")
    print(f"same choices: {same}")
    return different == 0 and same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("reference", "compare"))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "guide")
    parser.add_argument("--model", type=Path, default=ROOT / "resources" / "guide.gguf")
    options = parser.parse_args()
    if options.step == "reference":
        reference(options.work)
    elif not compare(options.work, options.model):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
