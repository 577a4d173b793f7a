# ruff: noqa: RUF001 - DeepSeek's markers are made of these characters
"""Forced calls as llama.cpp's grammar lets them through, and as the parser reads them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_cpp.llama_grammar import json_schema_to_gbnf

from app.core.engine.chat import ToolGrammar, grammar
from app.core.engine.chat.families import FAMILIES, THOUGHTS, Thoughts
from tests.support.engine_chat import TOOLS, Answer, parse
from tests.support.engine_grammar import Judge, judge

CITY = '{"city": "Paris"}'
WRITTEN = {
    "hermes": f'<tool_call>\n{{"name": "get_weather", "arguments": {CITY}}}\n</tool_call>',
    "llama3": f'{{"name": "get_weather", "parameters": {CITY}}}',
    "mistral": f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {CITY}}}]',
    "mistral-named": f"[TOOL_CALLS]get_weather[ARGS]{CITY}",
    "piped": f'<|tool_call|>[{{"name": "get_weather", "arguments": {CITY}}}]<|/tool_call|>',
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
    f"{CITY}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    f"<|tool_call_argument_begin|>{CITY}<|tool_call_end|><|tool_calls_section_end|>",
    "harmony": f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{CITY}",
    "gemma": f"<|tool_call>call:get_weather{CITY}<tool_call|>",
    "pythonic": f'<|tool_call_start|>[{{"name": "get_weather", "arguments": {CITY}}}]<|tool_call_end|>',
    "generic": f'{{"name": "get_weather", "arguments": {CITY}}}',
}


@pytest.fixture(scope="module")
def llama(guide_model: Path) -> Iterator[Judge]:
    with judge(guide_model) as made:
        yield made


def made(family: str, *, parallel: bool = True, thoughts: tuple[str, str] | None = None) -> str:
    description = ToolGrammar(family=family, tools=TOOLS, parallel=parallel, thoughts=thoughts)
    return grammar(description, json_schema_to_gbnf=json_schema_to_gbnf)


def test_every_family_is_tried() -> None:
    assert WRITTEN.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", WRITTEN)
def test_what_the_grammar_forces_is_what_the_parser_reads(llama: Judge, family: str) -> None:
    text = WRITTEN[family]
    assert llama.accepts(made(family), text)
    assert parse(family, [text]) == Answer(calls=[("id0", "get_weather", CITY)])
    assert not llama.accepts(made(family), text.replace("city", "town"))
    assert not llama.accepts(made(family), "Sure! " + text)


def test_several_calls_only_where_they_are_wanted(llama: Judge) -> None:
    two = f'{WRITTEN["hermes"]}\n<tool_call>\n{{"name": "add", "arguments": {{}}}}\n</tool_call>'
    assert llama.accepts(made("hermes"), two)
    assert not llama.accepts(made("hermes", parallel=False), two)


@pytest.mark.parametrize("thought", ["", "Hm.\n", "a < b, <<b>, </thin, <", "it's </ think>"])
def test_thoughts_that_were_opened_end_before_the_call(llama: Judge, thought: str) -> None:
    opened = made("hermes", thoughts=("", "</think>"))
    assert llama.accepts(opened, f"{thought}</think>\n\n{WRITTEN['hermes']}")
    assert not llama.accepts(opened, WRITTEN["hermes"])
    free = made("hermes", thoughts=("<think>", "</think>"))
    assert llama.accepts(free, WRITTEN["hermes"])
    assert llama.accepts(free, f"<think>{thought}</think>\n{WRITTEN['hermes']}")


@pytest.mark.parametrize("thoughts", THOUGHTS)
def test_thoughts_between_any_markers(llama: Judge, thoughts: Thoughts) -> None:
    free = made("hermes", thoughts=(thoughts.opener, thoughts.closer))
    assert llama.accepts(free, f"{thoughts.opener}Hm.{thoughts.closer}{WRITTEN['hermes']}")
    assert not llama.accepts(free, f"{thoughts.opener}Hm.{WRITTEN['hermes']}")
