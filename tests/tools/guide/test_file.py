"""The built-in model's file: small, splittable, and says what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType, GGUFReader

from tools.guide.corpus import Corpus
from tools.guide.text import REFUSE

RESOURCES = Path(__file__).parents[3] / "resources"
MODEL = RESOURCES / "guide.gguf"


def suggestions() -> list[str]:
    loaded = json.loads((RESOURCES / "guide_suggestions.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, list)
    return loaded


@pytest.fixture(scope="module")
def reader() -> GGUFReader:
    return GGUFReader(MODEL)


def value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def test_the_file_is_small() -> None:
    assert MODEL.stat().st_size <= 12_000_000


def test_there_are_enough_layers_to_split(reader: GGUFReader) -> None:
    assert value(reader, "general.architecture") == "llama"
    assert value(reader, "llama.block_count") >= 8


def test_the_file_says_what_it_is(reader: GGUFReader) -> None:
    assert value(reader, "general.name") == "SwarmLLM guide"
    assert value(reader, "general.license") == "Apache-2.0"
    assert value(reader, "general.author")
    assert "demonstration" in value(reader, "general.description")


def test_matrices_are_q8_0(reader: GGUFReader) -> None:
    kinds = {tensor.tensor_type for tensor in reader.tensors if len(tensor.shape) == 2}
    assert kinds == {GGMLQuantizationType.Q8_0}


def test_the_chat_template_takes_any_role(reader: GGUFReader) -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment(autoescape=False).from_string(value(reader, "tokenizer.chat_template"))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert template.render(messages=messages, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_turns_end_where_generation_should(reader: GGUFReader) -> None:
    tokens = value(reader, "tokenizer.ggml.tokens")
    assert tokens[value(reader, "tokenizer.ggml.eos_token_id")] == "<|im_end|>"


def test_there_are_some_suggested_questions() -> None:
    assert 8 <= len(suggestions()) <= 12


ASK = """
import json, sys
from pathlib import Path
from tools.guide.evaluate import Guide
guide = Guide(Path(sys.argv[1]), threads=1)
replies = [guide.reply([], question) for question in json.load(sys.stdin)]
print(json.dumps([[reply.text, reply.sure] for reply in replies]))
"""


@pytest.mark.slow
def test_suggested_questions_get_an_answer_of_the_guide() -> None:
    # llama.cpp in a process of its own: it keeps what other tests of this process told it, and it may abort
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(MODEL)],
        input=json.dumps(suggestions()),
        stdout=subprocess.PIPE,
        cwd=RESOURCES.parent,
        text=True,
        check=True,
    )
    known = Corpus(1).answers()
    for question, (text, sure) in zip(suggestions(), json.loads(asked.stdout), strict=True):
        assert known.get(text, REFUSE) not in ("", REFUSE, "gibberish"), (question, text)
        assert sure > 0.5, (question, text)
