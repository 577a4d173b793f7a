"""Playbooks: answers as real models write them, and what they must come apart into."""

# ruff: noqa: RUF001 - DeepSeek's markers are made of these characters

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.engine.chat import AnswerParser, random_call_id
from app.core.engine.chat.families import FAMILIES
from app.core.kernel.generation import ReasoningDelta, TextDelta, ToolCallDelta
from tests.support.engine_chat import TOOLS, Answer, collect, parse

CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
ONE = [("id0", "get_weather", '{"city": "Paris"}')]
TWO = [*ONE, ("id1", "add", '{"a": 1}')]

PLAYBOOK: list[tuple[str, str, Answer]] = [
    ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", Answer(calls=ONE)),
    (
        "hermes",
        f'Let me see.\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{{"name": "add", "arguments": '
        '{"a": 1}}\n</tool_call>',
        Answer(text="Let me see.\n", calls=TWO),
    ),
    (
        "hermes",
        '<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>',
        Answer(calls=ONE),
    ),
    (
        "hermes",
        r'<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}</tool_call>',
        Answer(calls=[("id0", "get_weather", '{"city": "Paris"}')]),
    ),
    (
        "hermes",
        r'<tool_call>{"name": "get_weather", "arguments": {"city": "} </tool_call> \"{"}}</tool_call>',
        Answer(calls=[("id0", "get_weather", r'{"city": "} </tool_call> \"{"}')]),
    ),
    (
        "hermes",
        f"<think>\nThe user wants\n\nweather.\n</think>\n\n<tool_call>\n{CALL}\n</tool_call>",
        Answer(reasoning="The user wants\n\nweather.", calls=ONE),
    ),
    ("hermes", "<think>\n\n</think>\n\nHello!", Answer(text="Hello!")),
    (
        "hermes",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n"
        "</parameter>\n</function>\n</tool_call>",
        Answer(calls=[("id0", "get_weather", '{"city": "Paris", "days": 3}')]),
    ),
    (
        "hermes",
        "<function=get_weather>\n<parameter=city>\n12\n</parameter>\n</function>",
        Answer(calls=[("id0", "get_weather", '{"city": "12"}')]),
    ),
    (
        "hermes",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
        Answer(calls=ONE),
    ),
    ("hermes", f"<tool_call>\n{CALL}", Answer(calls=ONE)),
    ("hermes", '<tool_call>\n{"name": "add"}\n</tool_call>', Answer(calls=[("id0", "add", "{}")])),
    ("hermes", "<tool_call>not a call</tool_call>", Answer(text="<tool_call>not a call</tool_call>")),
    ("hermes", '<tool_call>{"nome": 1}</tool_call>!', Answer(text='<tool_call>{"nome": 1}</tool_call>!')),
    (
        "hermes",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Par',
        Answer(calls=[("id0", "get_weather", '{"city": "Par')]),
    ),
    ("hermes", '<tool_call>{"name": "get_wea', Answer(text='<tool_call>{"name": "get_wea')),
    ("hermes", "a <b> c < d <tool", Answer(text="a <b> c < d <tool")),
    ("hermes", "To think, write <think> first.", Answer(text="To think, write <think> first.")),
    ("hermes", " \n", Answer(text=" \n")),
    (
        "llama3",
        '{"name": "get_weather", "parameters": {"city": "Paris"}}',
        Answer(calls=[("id0", "get_weather", '{"city": "Paris"}')]),
    ),
    (
        "llama3",
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}; '
        '{"name": "add", "parameters": {"a": 1}}',
        Answer(calls=TWO),
    ),
    ("llama3", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}', Answer(calls=ONE)),
    (
        "llama3",
        '<|python_tag|>get_weather.call(city="Paris", days=2)',
        Answer(calls=[("id0", "get_weather", '{"city": "Paris", "days": 2}')]),
    ),
    ("llama3", '{"name": "unknown", "parameters": {}}', Answer(text='{"name": "unknown", "parameters": {}}')),
    ("llama3", '{"answer": {"name": "add"}}', Answer(text='{"answer": {"name": "add"}}')),
    (
        "mistral",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "abcdefghi"}, '
        '{"name": "add", "arguments": {"a": 1}}]',
        Answer(calls=TWO),
    ),
    ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}', Answer(calls=ONE)),
    (
        "mistral-named",
        '[TOOL_CALLS]get_weather[CALL_ID]abc123def[ARGS]{"city": "Paris"}[TOOL_CALLS]add{"a": 1}',
        Answer(calls=TWO),
    ),
    ("mistral", "[THINK]Hm.[/THINK]Yes [1].", Answer(text="Yes [1].", reasoning="Hm.")),
    ("mistral", "[TOOL_CALLS] but then prose.", Answer(text="[TOOL_CALLS] but then prose.")),
    ("piped", f"<|tool_call|>[{CALL}]<|/tool_call|>", Answer(calls=ONE)),
    ("piped", f" functools[{CALL}]", Answer(calls=ONE)),
    (
        "deepseek",
        "Let me see.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Paris"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n'
        '{"a": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        Answer(text="Let me see.", calls=TWO),
    ),
    (
        "deepseek",
        "<think>Hm.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Paris"}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        Answer(reasoning="Hm.", calls=ONE),
    ),
    (
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris"}<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>'
        '{"a": 1}<|tool_call_end|><|tool_calls_section_end|>',
        Answer(calls=TWO),
    ),
    (
        "harmony",
        "<|channel|>analysis<|message|>They ask for weather.<|end|><|start|>assistant<|channel|>commentary "
        'to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
        Answer(reasoning="They ask for weather.", calls=ONE),
    ),
    (
        "harmony",
        "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>"
        "Hello <|you|>!",
        Answer(reasoning="Easy.", text="Hello <|you|>!"),
    ),
    (
        "harmony",
        '<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}',
        Answer(calls=ONE),
    ),
    (
        "pythonic",
        '<|tool_call_start|>[get_weather(city="Paris"), add(a=1)]<|tool_call_end|>Checking.',
        Answer(text="Checking.", calls=TWO),
    ),
    (
        "pythonic",
        "<|tool_call_start|>[f(open('x'))]<|tool_call_end|>",
        Answer(text="<|tool_call_start|>[f(open('x'))]<|tool_call_end|>"),
    ),
    (
        "gemma",
        '<|channel>thought\nHm.\n<channel|><|tool_call>call:get_weather{city: <|"|>Paris<|"|>}<tool_call|>'
        "<|tool_call>call:add{a:1}<tool_call|>",
        Answer(
            reasoning="Hm.",
            calls=[*ONE, ("id1", "add", '{"a":1}')],
        ),
    ),
    (
        "gemma",
        '<|tool_call>call:add{a:[1,<|"|>a "b" {}<|"|>,-2.5e3],o:{x:true,y:None,"z":"w"}}<tool_call|>',
        Answer(calls=[("id0", "add", r'{"a":[1,"a \"b\" {}",-2.5e3],"o":{"x":true,"y":null,"z":"w"}}')]),
    ),
    ("gemma", "<|tool_call>call:add{a:}<tool_call|>", Answer(text="<|tool_call>call:add{a:}<tool_call|>")),
    ("hermes", '<function=get_weather>{"city": "Paris"}</function>', Answer(calls=ONE)),
    ("hermes", f"<tool_calls>[{CALL}]</tool_calls>", Answer(calls=ONE)),
    (
        "generic",
        '<|START_ACTION|>[\n{"tool_call_id": "0", "tool_name": "get_weather", '
        '"parameters": {"city": "Paris"}}\n]<|END_ACTION|>',
        Answer(calls=ONE),
    ),
    (
        "generic",
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
        '</invoke>\n<invoke name="add">\n<parameter name="a">1</parameter>\n</invoke>\n</minimax:tool_call>',
        Answer(calls=TWO),
    ),
    (
        "generic",
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">'
        "Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
        Answer(calls=ONE),
    ),
    ("generic", f"```json\n{CALL}\n```", Answer(calls=ONE)),
    ("generic", '```json\n{"a": 1}\n```\n', Answer(text='```json\n{"a": 1}\n```\n')),
    ("generic", '{"tool_calls": [{"function": ' + CALL + "}]}", Answer(calls=ONE)),
    ("generic", '{"type": "function", "function": ' + CALL + "}", Answer(calls=ONE)),
    ("generic", '{"name": 3}', Answer(text='{"name": 3}')),
]


def whole(family: str, text: str) -> Answer:
    return parse(family, [text])


@pytest.mark.parametrize(("family", "text", "expected"), PLAYBOOK)
def test_playbook_in_one_piece_and_character_by_character(family: str, text: str, expected: Answer) -> None:
    assert whole(family, text) == expected
    assert parse(family, list(text)) == expected


@settings(max_examples=80, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    fragments=st.lists(
        st.sampled_from(
            [
                "<tool_call>",
                "</tool_call>",
                "\n",
                " ",
                "{",
                "}",
                CALL,
                '"name": "add"',
                "[TOOL_CALLS]",
                "[",
                "]",
                ",",
                ";",
                "<think>",
                "</think>",
                "text",
                "<|python_tag|>",
                "add",
                "[ARGS]",
                '{"a": 1}',
                "```json\n",
                "```",
                "<function=add>",
                "</function>",
                "\\",
                '"',
                "<",
                "add.call(a=1)",
                "<｜tool▁calls▁begin｜>",
                "<｜tool▁call▁begin｜>",
                "<｜tool▁sep｜>",
                "<|channel|>",
                "analysis<|message|>",
                "final<|message|>",
                "<|end|>",
                "<|start|>assistant",
                "<|tool_call_start|>",
                "[add(a=1)]<|tool_call_end|>",
                "<|tool_call>",
                "call:add{a:1}<tool_call|>",
            ]
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 400), max_size=30),
    opened=st.booleans(),
    parallel=st.booleans(),
)
def test_however_it_is_cut_the_answer_is_the_same(
    family: str, fragments: list[str], cuts: list[int], opened: bool, parallel: bool
) -> None:
    text = "".join(fragments)
    tail = "<think>\n" if opened else ""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[a:b] for a, b in pairwise(places)]
    expected = parse(family, [text], prompt_tail=tail, parallel=parallel)
    assert parse(family, parts, prompt_tail=tail, parallel=parallel) == expected


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.text(alphabet="<tol_ca>[TO{}\"' \n", max_size=8), max_size=20))
def test_without_tools_and_thoughts_text_comes_out_unchanged(parts: list[str]) -> None:
    assert parse("hermes", parts, tools=()).text == "".join(parts)


def test_arguments_stream_while_they_are_written() -> None:
    parser = AnswerParser("hermes", TOOLS, new_id=lambda: "id")
    assert parser.feed('<tool_call>{"name": "get_weather", "argu') == []
    assert parser.feed('ments": {"ci') == [
        ToolCallDelta(call=0, id="id", name="get_weather"),
        ToolCallDelta(call=0, arguments='{"ci'),
    ]
    assert parser.feed('ty": "P"}') == [ToolCallDelta(call=0, arguments='ty": "P"}')]
    assert parser.feed("}\n</tool_call>") == []
    assert parser.finish() == []
    assert parser.calls == 1


def test_plain_text_is_never_held_back_longer_than_it_may_be_a_marker() -> None:
    parser = AnswerParser("hermes", TOOLS)
    assert parser.feed("Hello") == [TextDelta(text="Hello")]
    assert parser.feed(" <tool") == [TextDelta(text=" ")]
    assert parser.feed("box>") == [TextDelta(text="<toolbox>")]


@pytest.mark.parametrize(("family", "opener"), [("hermes", "<tool_call>"), ("piped", "functools")])
def test_prose_that_mentions_a_marker_is_not_held_back(family: str, opener: str) -> None:
    text = f"Write {opener} in front"
    assert collect(AnswerParser(family, TOOLS).feed(text)) == Answer(text=text)


def test_json_that_is_no_call_is_let_go_at_its_first_foreign_key() -> None:
    parser = AnswerParser("llama3", TOOLS)
    assert parser.feed('{"na') == []
    assert parser.feed('tion"') == [TextDelta(text='{"nation"')]


@pytest.mark.parametrize("tail", ["<|im_start|>assistant\n<think>\n", "<|Assistant|><think>", "x[THINK]"])
def test_thoughts_that_the_prompt_opened_are_thoughts(tail: str) -> None:
    closer = "[/THINK]" if "[THINK]" in tail else "</think>"
    answer = parse("hermes", ["\nI must", f" ponder.\n{closer}", "\n\nDone."], prompt_tail=tail)
    assert answer == Answer(text="Done.", reasoning="I must ponder.")


def test_thoughts_cut_short_stay_thoughts() -> None:
    assert parse("hermes", ["<think>I was saying"]) == Answer(reasoning="I was saying")


def test_choice_number_is_on_every_event() -> None:
    parser = AnswerParser("hermes", TOOLS, choice=3)
    events = parser.feed(f"<think>a</think>b<tool_call>{CALL}</tool_call>") + parser.finish()
    assert {type(event) for event in events} == {TextDelta, ReasoningDelta, ToolCallDelta}
    assert {event.choice for event in events} == {3}


def test_without_parallel_only_the_first_call_comes_through() -> None:
    text = f'<tool_call>{CALL}</tool_call>\n<tool_call>{{"name": "add"}}</tool_call> And text.'
    assert parse("hermes", [text], parallel=False) == Answer(calls=ONE)
    both = f'[TOOL_CALLS][{CALL}, {{"name": "add", "arguments": {{}}}}]'
    assert parse("mistral", [both], parallel=False) == Answer(calls=ONE)


def test_without_tools_nothing_is_a_call() -> None:
    text = f"<tool_call>{CALL}</tool_call>"
    assert parse("hermes", [text], tools=()) == Answer(text=text)


def test_code_for_the_interpreter_is_a_call_of_it() -> None:
    python = TOOLS[0].__class__(name="python")
    answer = parse("llama3", ["<|python_tag|>print(", "1)"], tools=[python])
    assert answer.calls == [("id0", "python", '{"code": "print(1)"}')]


def test_call_ids_have_openais_shape() -> None:
    assert len(random_call_id()) == 29
    assert random_call_id().startswith("call_")
    assert random_call_id() != random_call_id()


def test_a_hostile_answer_takes_linear_time() -> None:
    parse("hermes", ["<tool_call>"] * 10_000)
    parse("llama3", ['{"name": '] * 5_000)
    parse("mistral", ["[TOOL_CALLS]["] * 10_000)
    parse("hermes", ["<think>"] + ["\n"] * 5_000)
    for piece in ['<invoke name="x">', "<parameter=a>", "<arg_key>a</arg_key><arg_value>", " " * 9, "f\n  "]:
        parse("hermes", ["<tool_call>f"] + [piece] * 4_000 + ["</tool_call>"])
    parse("gemma", ["<|tool_call>call:f{", *['a:<|"|>,"'] * 10_000, "}<tool_call|>"])
