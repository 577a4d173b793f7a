from datetime import datetime

import pytest

from app.core.engine.chat import PreparedPrompt, detect_family, prepare
from app.core.kernel.errors import InvalidRequest, Unsupported
from app.core.kernel.generation import Message, Tool, ToolCall, ToolChoice
from tests.support.engine_chat import TOOLS
from tests.support.engine_templates import GEMMA, HERMES, LLAMA3, MISTRAL, NULL_CONTENT, PARTS

SYSTEM = Message(role="system", content="Be brief.")
USER = Message(role="user", content="Weather in <Köln>?")
CALLED = Message(
    role="assistant",
    tool_calls=(ToolCall(id="call_0123456789abcdef", name="get_weather", arguments='{"city": "Köln"}'),),
)
RESULT = Message(role="tool", content="rain", tool_call_id="call_0123456789abcdef", name="get_weather")
THANKS = Message(role="user", content="Thanks")


def ready(
    template: str,
    *messages: Message,
    tools: tuple[Tool, ...] = (),
    choice: ToolChoice | None = None,
    options: dict[str, bool | int | float | str] | None = None,
) -> PreparedPrompt:
    return prepare(
        template,
        bos_token="<s>",
        eos_token="</s>",
        messages=messages,
        tools=tools,
        tool_choice=choice or ToolChoice(),
        options=options or {},
        now=lambda: datetime(2026, 3, 4),
    )


def test_no_template_means_chatml() -> None:
    prompt = ready("", SYSTEM, USER)
    assert prompt.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWeather in <Köln>?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert prompt.stops == ("<|im_end|>",)


def test_tools_and_calls_reach_a_template_that_knows_them() -> None:
    text = ready(HERMES, SYSTEM, USER, CALLED, RESULT, THANKS, tools=TOOLS).text
    assert '{"type": "function", "function": {"name": "get_weather"' in text
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln"}}\n</tool_call>' in text
    assert "<tool_response>\nrain\n</tool_response>" in text
    assert text.count("Be brief.") == 1


def test_tools_are_explained_to_a_model_whose_template_has_none() -> None:
    prompt = ready(GEMMA, SYSTEM, USER, CALLED, RESULT, THANKS, tools=TOOLS)
    assert prompt.family == "generic"
    assert '"name": "get_weather"' in prompt.text
    assert '{"name": "get_weather", "arguments": {"city": "Köln"}}<end_of_turn>' in prompt.text
    assert "Result of get_weather:\nrain\n\nThanks<end_of_turn>" in prompt.text


def test_results_are_named_after_their_calls() -> None:
    nameless = Message(role="tool", content="rain", tool_call_id="call_0123456789abcdef")
    template = (
        "{% for m in messages %}{{ m.role }} {{ m.name }}: {{ m.content }}{{ m.tool_calls }}\n{% endfor %}"
    )
    assert "Result of get_weather:\nrain" in ready(GEMMA, USER, CALLED, nameless, tools=TOOLS).text
    assert "tool get_weather: rain" in ready(HERMES + template, USER, CALLED, nameless, tools=TOOLS).text


def test_a_template_without_system_role_gets_it_with_the_first_question() -> None:
    assert ready(GEMMA, SYSTEM, USER).text == (
        "<s><start_of_turn>user\nBe brief.\n\nWeather in <Köln>?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_turns_are_merged_only_where_the_template_insists_on_alternation() -> None:
    assert "Weather in <Köln>?\n\nThanks" in ready(GEMMA, USER, THANKS).text
    assert "Weather in <Köln>?<|im_end|>" in ready(HERMES, USER, THANKS).text


def test_mistral_gets_ids_of_nine_characters_that_agree() -> None:
    text = ready(MISTRAL, USER, CALLED, RESULT, tools=TOOLS).text
    identity = text.split('"id": "')[1][:9]
    assert identity.isalnum()
    assert f'"call_id": "{identity}"' in text


def test_llama_is_told_the_date_and_arguments_as_json() -> None:
    text = ready(LLAMA3, USER, CALLED, RESULT, THANKS, tools=TOOLS).text
    assert "Today Date: 04 Mar 2026" in text
    assert '{"name": "get_weather", "parameters": {"city": "Köln"}}<|eot_id|>' in text


def test_content_is_null_beside_calls_only_where_the_template_wants_it() -> None:
    assert 'CALL get_weather{"city": "Köln"}' in ready(NULL_CONTENT, USER, CALLED, RESULT).text


def test_content_comes_in_parts_where_the_template_wants_it() -> None:
    assert "system:Be brief.\nuser:Weather in <Köln>?\n" in ready(PARTS, SYSTEM, USER).text


def test_options_reach_the_template_but_cannot_replace_the_conversation() -> None:
    assert ready(HERMES, USER, options={"enable_thinking": True}).text.endswith("<think>\n")
    assert ready(HERMES, USER, options={"enable_thinking": False}).text.endswith("</think>\n\n")
    assert "Weather" in ready(HERMES, USER, options={"messages": "gone", "bos_token": "gone"}).text


def test_tool_choice_none_hides_the_tools() -> None:
    prompt = ready(HERMES, USER, tools=TOOLS, choice=ToolChoice(mode="none"))
    assert "get_weather" not in prompt.text
    assert prompt.tool_grammar is None


def test_forced_calls_carry_a_grammar() -> None:
    required = ready(HERMES, USER, tools=TOOLS, choice=ToolChoice(mode="required")).tool_grammar
    assert required is not None
    assert required.tools == TOOLS
    named = ready(HERMES, USER, tools=TOOLS, choice=ToolChoice(mode="named", name="add")).tool_grammar
    assert named is not None
    assert [tool.name for tool in named.tools] == ["add"]


def test_a_forced_call_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not among the tools"):
        ready(HERMES, USER, tools=TOOLS, choice=ToolChoice(mode="named", name="nope"))
    with pytest.raises(InvalidRequest, match="there are no tools"):
        ready(HERMES, USER, choice=ToolChoice(mode="required"))


def test_the_templates_own_objection_reaches_the_user() -> None:
    with pytest.raises(InvalidRequest, match=r"refused the conversation.*must alternate"):
        ready(GEMMA, Message(role="assistant", content="I begin"), USER)


@pytest.mark.parametrize(
    "template",
    ["{% if", "{{ messages | nonsense }}", "x" * ((1 << 20) + 1), "{% for a in %}"],
)
def test_a_template_that_cannot_be_compiled_is_unsupported(template: str) -> None:
    with pytest.raises(Unsupported, match="chat template"):
        ready(template, USER)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for i in range(100000000) %}x{% endfor %}",
        "{% for i in range(90) %}{{ 'x' * 1000000 }}{% endfor %}",
        "{{ messages[0].content.nothing.nothing }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% include 'x' %}",
    ],
)
def test_a_hostile_or_broken_template_is_an_error_and_nothing_more(template: str) -> None:
    with pytest.raises(InvalidRequest):
        ready(template, USER)


def test_generation_blocks_and_loop_controls_are_understood() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% continue %}{% endif %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    answer = Message(role="assistant", content="Rain.")
    assert ready(template, USER, answer, THANKS).text == "Weather in <Köln>?Thanks"


@pytest.mark.parametrize(
    ("template", "family"),
    [
        (HERMES, "hermes"),
        (MISTRAL, "mistral"),
        ("x[TOOL_CALLS]x[ARGS]", "mistral-named"),
        (LLAMA3, "llama3"),
        (GEMMA, "generic"),
        ("", "generic"),
        ("<|tool_call|>", "piped"),
        ("<|channel|>analysis<|message|><|end|>", "harmony"),
        ("<|tool_calls_section_begin|>", "kimi"),
        ("<|tool_call>call:", "gemma"),
        ("<|tool_call_start|>", "pythonic"),
    ],
)
def test_families_are_told_by_their_markers(template: str, family: str) -> None:
    assert detect_family(template) == family


def test_markers_that_are_tokens_are_named_to_the_worker() -> None:
    assert {"<tool_call>", "</tool_call>", "<think>"} <= set(ready(HERMES, USER, tools=TOOLS).preserved)
    assert "<tool_call>" not in ready(HERMES, USER).preserved


def test_what_ends_a_message_but_not_the_turn_is_no_stop() -> None:
    assert ready("<|end|>{{ messages[0].content }}", USER).stops == ("<|end|>",)
    assert ready("<|channel|>analysis<|message|><|end|>{{ messages[0].content }}", USER).stops == ()
