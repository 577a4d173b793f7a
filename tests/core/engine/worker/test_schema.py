"""Schemas and patterns as grammars, judged by llama.cpp itself: it accepts what fits and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.engine.worker import gbnf, schema
from app.core.engine.worker.grammar import JSON_OBJECT
from app.core.engine.worker.llama.log import LogRoute
from app.core.engine.worker.llama.model import Model
from app.core.engine.worker.llama.sampler import Candidates, GrammarSampler
from app.core.kernel.errors import InvalidGrammar
from tests.support.worker_models import EOS, write_model

FIRST_BYTE = 3
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "mail": {"type": ["string", "null"]},
    },
    "required": ["name"],
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value"],
        }
    },
}

CASES = [
    (
        PERSON,
        ['{"name": "a"}', '{"name":"a","age":-3}', '{ "name": "a", "mail": null }'],
        [
            "{}",
            '{"age": 1}',
            '{"name": 1}',
            '{"name": "a", "x": 1}',
            '{"name": "a",}',
            '{"age":1,"name":"a"}',
        ],
    ),
    (
        {"properties": {"a": {}, "b": {}}},
        ["{}", '{"a": 1}', '{"b": [1, {"c": null}]}', '{"a": "x", "b": true}'],
        ['{"b": 1, "a": 2}', '{,"b": 1}'],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "null"}},
            "additionalProperties": {"type": "integer"},
        },
        ["{}", '{"a": null}', '{"a": null, "z": 1}', '{"z": 1, "y": 2}'],
        ['{"z": "x"}'],
    ),
    ({"type": "object"}, ["{}", '{"a": {"b": [1.5e3]}}'], ["[]", "1"]),
    (
        {"enum": ["red", 1, None, 'q"\\', "é😀"]},
        ['"red"', "1", "null", '"q\\"\\\\"', '"é😀"'],
        ['"blue"', '"q"'],
    ),
    ({"const": {"a": [1]}}, ['{"a": [1]}'], ['{"a": [2]}']),
    ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, ["12", "true"], ["1.5", '"a"']),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
        ["[1]", "[1, 2, 3]", "[ 1,2 ]"],
        ["[]", "[1, 2, 3, 4]", '["a"]', "[1,]"],
    ),
    ({"type": "array", "items": {"type": "integer"}}, ["[]", "[1, 2, 3, 4, 5]"], ["[1.5]"]),
    ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    (
        {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        ['[1, "a"]'],
        ['["a", 1]', "[1]"],
    ),
    (
        {"type": "string", "minLength": 2, "maxLength": 3},
        ['"ab"', '"abc"', '"\\n\\u00e9"'],
        ['"a"', '"abcd"'],
    ),
    ({"type": "string", "format": "date"}, ['"2026-11-22"'], ['"2026-13-22"', '"today"']),
    ({"type": "string", "format": "date-time"}, ['"2026-11-22T17:00:00Z"'], ['"2026-11-22"']),
    ({"type": "string", "format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"123e4567"']),
    (
        {"type": "string", "pattern": "^[a-c]{2,3}-\\d+$"},
        ['"ab-1"', '"abc-42"'],
        ['"a-1"', '"abcd-1"', '"ab-"'],
    ),
    ({"type": "string", "pattern": "^(yes|no)\\.$"}, ['"yes."', '"no."'], ['"maybe."', '"yesx"']),
    ({"type": "string", "pattern": 'x"y'}, ['"x\\"y"', '"aax\\"ybb"'], ['"xy"']),
    ({"type": "string", "pattern": '^[^a"]+$'}, ['"xyz"'], ['"xaz"']),
    ({"type": "string", "pattern": "^\\S+ .?$"}, ['"ab c"', '"ab "'], ['"a  cd"']),
    ({"type": "number"}, ["0", "-1.5", "2e10"], ["01", ".5", '"1"']),
    (
        TREE,
        ['{"value": 1}', '{"value": 1, "children": [{"value": 2, "children": []}]}'],
        ['{"children": []}'],
    ),
    (
        {
            "allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"$ref": "#/$defs/b"}],
            "$defs": {"b": {"properties": {"b": {"type": "integer"}}, "required": ["b"]}},
        },
        ['{"a": 1, "b": 2}'],
        ['{"a": 1}', '{"b": 1}'],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        ['{"a": 1}', '{"b": 1}', '{"a": 1, "b": 2}'],
        ["{}"],
    ),
    (True, ["1", '{"a": []}'], ["a"]),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path: Path = write_model(tmp_path_factory.mktemp("schema") / "model.gguf")
    logs = LogRoute()
    logs.install()
    loaded = Model.load([str(path)], gpu_layers=0, progress=lambda _: None, reason=logs.take_error)
    yield loaded
    loaded.close()


def accepts(model: Model, grammar: str, text: str) -> bool:
    """Whether llama.cpp lets the answer be `text`, byte by byte, and end there."""
    gbnf.check(grammar)
    sampler, scratch = GrammarSampler(model.vocab, grammar), Candidates(model.n_vocab)
    try:
        for byte in text.encode():
            if not sampler.allows(FIRST_BYTE + byte, scratch):
                return False
            sampler.accept(FIRST_BYTE + byte)
        return sampler.allows(EOS, scratch)
    finally:
        sampler.close()


@pytest.mark.parametrize(("rules", "good", "bad"), CASES, ids=lambda case: json.dumps(case)[:40])
def test_the_grammar_accepts_what_the_schema_does(
    model: Model, rules: object, good: list[str], bad: list[str]
) -> None:
    grammar = schema.to_gbnf(json.dumps(rules))
    assert [text for text in good if not accepts(model, grammar, text)] == []
    assert [text for text in bad if accepts(model, grammar, text)] == []


def test_json_objects_of_any_shape_are_accepted(model: Model) -> None:
    document = {"a": [1, 2.5, -3e-2, {"b": None}], "é": 'x\n"\\\u0007', "t": [True, False, []], "o": {}}
    assert accepts(model, JSON_OBJECT, json.dumps(document))
    assert accepts(model, JSON_OBJECT, json.dumps(document, indent=2, ensure_ascii=False))
    assert not accepts(model, JSON_OBJECT, "[1]")
    assert not accepts(model, JSON_OBJECT, '{"a": 1')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1",
        "false",
        '"string"',
        '{"type": "thing"}',
        '{"type": 5}',
        '{"type": []}',
        '{"enum": []}',
        '{"enum": 3}',
        '{"anyOf": []}',
        '{"anyOf": [3]}',
        '{"$ref": "#/nowhere"}',
        '{"$ref": "https://example.org/schema"}',
        '{"$ref": 7}',
        '{"not": {}}',
        '{"properties": []}',
        '{"required": [1], "type": "object"}',
        '{"type": "array", "minItems": -1}',
        '{"type": "array", "minItems": 3, "maxItems": 1}',
        '{"type": "string", "minLength": "x"}',
        '{"pattern": "("}',
        '{"pattern": "(?=a)"}',
        '{"pattern": "(?i)a"}',
        '{"pattern": "(a)\\\\1"}',
        '{"pattern": 5}',
        '{"allOf": [{"$ref": "#"}]}',
        "[" * 2000 + "]" * 2000,
        '{"items":' * 100 + "{}" + "}" * 100,
        json.dumps({"enum": ["x" * 100] * 4000}),
        json.dumps({"properties": {f"p{i}": {"type": "string"} for i in range(6000)}}),
    ],
    ids=lambda text: text[:40],
)
def test_what_cannot_be_enforced_is_refused(text: str) -> None:
    with pytest.raises(InvalidGrammar):
        schema.to_gbnf(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"$ref": "#"}',
        '{"anyOf": [{"$ref": "#"}, {"type": "null"}]}',
        '{"enum": ["\\ud800"]}',
        '{"type": "array", "items": {"type": "integer"}, "minItems": 1000000000}',
    ],
)
def test_what_llama_cpp_could_not_follow_is_refused_by_the_measuring(text: str) -> None:
    with pytest.raises(InvalidGrammar):
        gbnf.check(schema.to_gbnf(text))
