"""What the measuring of grammars lets through, llama.cpp compiles; what would harm it is refused before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.engine.worker import gbnf
from app.core.engine.worker.grammar import JSON_OBJECT
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.llama.sampler import GrammarSampler
from app.core.kernel.errors import InvalidGrammar
from tests.support.worker_models import write_model

VALID = [
    'root ::= "a"',
    JSON_OBJECT,
    'root ::= [a-z]+ | [^\\]\\n\\x41\\u00e9] "\\"\\\\" # comment\n',
    'root ::=\n  foo\nfoo ::= (\n "a" |\n "b"\n)* .{2,3}',
    'root ::= ("a" | "b"){3} "c"{0,5} "d"{2,} x-1?\r\nx-1 ::= "é😀"',
    'root ::= "" | "a" root',
    'root ::= a a\na ::= | "x"',
    'root ::= <[5]> !<[6]> "a"',
]
INVALID = [
    "",
    "root",
    "root ::= (",
    "root ::= )",
    'root ::= "a',
    "root ::= [a",
    "root ::= nobody",
    'other ::= "a"',
    "root ::= root",
    'root ::= a "x"\na ::= b\nb ::= root',
    'root ::= e root "x"\ne ::= "y"?',
    "root ::= *",
    'root ::= "a"{99999}',
    'root ::= "a"{3,2}',
    'root ::= "\\q"',
    'root = "a"',
    "root ::= {",
    'root ::= "a" ::= "b"',
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path: Path = write_model(tmp_path_factory.mktemp("gbnf") / "model.gguf")
    logs = LogRoute()
    logs.install()
    loaded = Model.load([str(path)], gpu_layers=0, progress=lambda _: None, reason=logs.take_error)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("text", VALID)
def test_valid_grammars_pass_and_llama_cpp_compiles_them(model: Model, text: str) -> None:
    gbnf.check(text)
    GrammarSampler(model.vocab, text).close()


@pytest.mark.parametrize("text", INVALID)
def test_wrong_grammars_are_refused(text: str) -> None:
    with pytest.raises(InvalidGrammar):
        gbnf.check(text)


def test_the_line_of_a_mistake_is_named() -> None:
    with pytest.raises(InvalidGrammar, match="line 3"):
        gbnf.check('root ::= "a"\n\nfoo ::= ]')


def _doubling(depth: int) -> str:
    rules = [f'r{i} ::= r{i + 1} "a" | r{i + 1} "b"' for i in range(depth)]
    return "\n".join(["root ::= r0", *rules, f'r{depth} ::= "x"'])


@pytest.mark.parametrize(
    "text",
    [
        "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000,
        _doubling(60),
        "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(10_000)) + '\nr10000 ::= "x"',
        "root ::= " + " ".join(['"a"{2000}'] * 300),
        "root ::= " + " | ".join(['"a"'] * 30_000),
        "root ::= a0\n" + "\n".join(f"a{i} ::= a{i + 1}? a{i + 1}?" for i in range(40)) + '\na40 ::= "x"',
        'root ::= "' + "a" * 300_000 + '"',
        'root ::= "\0"',
        'root ::= ((("a"?){50}){50}){50}',
        'root ::= "z" x\nx ::= ((("a"?){50}){50}){50}',
    ],
    ids=[
        "nesting",
        "doubling",
        "chain",
        "repeats",
        "alternatives",
        "optional",
        "size",
        "null",
        "nothing, repeated",
        "nothing, repeated, later",
    ],
)
def test_grammars_that_would_harm_llama_cpp_are_refused(text: str) -> None:
    with pytest.raises(InvalidGrammar):
        gbnf.check(text)
