"""How the model families write tool calls and thoughts, as data.

Sources: the chat templates that the models' makers ship, and their model cards.
"""

# ruff: noqa: RUF001 - DeepSeek's markers are made of these characters

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, kw_only=True)
class Tag:
    """Tool calls follow `opener`; `closer`, if there is one, may be left out by a sloppy model.

    `kind` tells what follows: "json" objects, one or a list; a name and then its arguments ("named");
    JSON, else Python ("code"); or a maker's own markup up to the closer ("markup").
    """

    opener: str
    closer: str | None = None
    kind: Literal["json", "named", "code", "markup"] = "json"


@dataclass(frozen=True, kw_only=True)
class Family:
    """`noise` are markers around calls or texts that say nothing and are dropped. `bare_json`: an answer
    that begins with a JSON object naming a known tool is a call.

    The rest is what a constrained answer is made of (`grammar.py`): `prefix` calls `separator` `suffix`,
    a call being `call_prefix` object `call_suffix`, or with `named` `call_prefix` name `name_suffix`
    arguments `call_suffix`. `arguments_key` is the object's key for the arguments.
    """

    name: str
    tags: tuple[Tag, ...] = ()
    noise: tuple[str, ...] = ()
    bare_json: bool = True
    arguments_key: str = "arguments"
    prefix: str = ""
    separator: str = "\n"
    suffix: str = ""
    call_prefix: str = ""
    call_suffix: str = ""
    named: bool = False
    name_suffix: str = ""


@dataclass(frozen=True)
class Thoughts:
    """Markers around what a model thinks before it answers."""

    opener: str
    closer: str


LISTS: Final = (
    Tag(opener="<tool_calls>", closer="</tool_calls>"),
    Tag(opener="<TOOLCALL>", closer="</TOOLCALL>"),
    Tag(opener="<|START_ACTION|>", closer="<|END_ACTION|>"),
    Tag(opener="<|function_call|>"),
    Tag(opener="<minimax:tool_call>", closer="</minimax:tool_call>", kind="markup"),
    Tag(opener="<｜DSML｜function_calls>", closer="</｜DSML｜function_calls>", kind="markup"),
    Tag(opener="<｜DSML｜tool_calls>", closer="</｜DSML｜tool_calls>", kind="markup"),
)
"""Markers of single models, read wherever no other family is certain."""

HERMES: Final = Family(
    name="hermes",
    tags=(
        Tag(opener="<tool_call>", closer="</tool_call>"),
        Tag(opener="<function=", closer="</function>", kind="markup"),
        *LISTS,
    ),
    call_prefix="<tool_call>\n",
    call_suffix="\n</tool_call>",
)
LLAMA3: Final = Family(
    name="llama3",
    tags=(Tag(opener="<|python_tag|>", kind="code"),),
    arguments_key="parameters",
    separator="; ",
)
MISTRAL: Final = Family(
    name="mistral",
    tags=(Tag(opener="[TOOL_CALLS]", kind="named"),),
    prefix="[TOOL_CALLS] [",
    separator=", ",
    suffix="]",
)
MISTRAL_NAMED: Final = Family(
    name="mistral-named",
    tags=(Tag(opener="[TOOL_CALLS]", kind="named"),),
    call_prefix="[TOOL_CALLS]",
    separator="",
    named=True,
    name_suffix="[ARGS]",
)
PIPED: Final = Family(
    name="piped",
    tags=(
        Tag(opener="<|tool_call|>", closer="<|/tool_call|>"),
        Tag(opener="functools"),
    ),
    prefix="<|tool_call|>[",
    separator=", ",
    suffix="]<|/tool_call|>",
)
GENERIC: Final = Family(
    name="generic",
    tags=(
        Tag(opener="<tool_call>", closer="</tool_call>"),
        Tag(opener="[TOOL_CALLS]", kind="named"),
        *LISTS,
    ),
    noise=("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)

DEEPSEEK: Final = Family(
    name="deepseek",
    tags=(Tag(opener="<｜tool▁call▁begin｜>", closer="<｜tool▁call▁end｜>", kind="named"),),
    noise=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    prefix="<｜tool▁calls▁begin｜>",
    separator="",
    suffix="<｜tool▁calls▁end｜>",
    call_prefix="<｜tool▁call▁begin｜>",
    call_suffix="<｜tool▁call▁end｜>",
    named=True,
    name_suffix="<｜tool▁sep｜>",
)
KIMI: Final = Family(
    name="kimi",
    tags=(Tag(opener="<|tool_call_begin|>", closer="<|tool_call_end|>", kind="named"),),
    noise=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    prefix="<|tool_calls_section_begin|>",
    separator="",
    suffix="<|tool_calls_section_end|>",
    call_prefix="<|tool_call_begin|>functions.",
    call_suffix="<|tool_call_end|>",
    named=True,
    name_suffix=":0<|tool_call_argument_begin|>",
)
HARMONY: Final = Family(
    name="harmony",
    tags=(
        Tag(opener="<|channel|>commentary to=functions.", closer="<|call|>", kind="named"),
        Tag(opener="to=functions.", closer="<|call|>", kind="named"),
        Tag(opener="<|start|>assistant to=functions.", closer="<|call|>", kind="named"),
        Tag(opener="<|start|>assistant<|channel|>commentary to=functions.", closer="<|call|>", kind="named"),
    ),
    noise=(
        "<|channel|>final<|message|>",
        "<|channel|>commentary<|message|>",
        "<|start|>assistant<|channel|>final<|message|>",
        "<|start|>assistant<|channel|>commentary<|message|>",
        "<|end|>",
        "<|return|>",
    ),
    separator="<|call|><|start|>assistant",
    call_prefix="<|channel|>commentary to=functions.",
    named=True,
    name_suffix=" <|constrain|>json<|message|>",
)
GEMMA: Final = Family(
    name="gemma",
    tags=(Tag(opener="<|tool_call>", closer="<tool_call|>", kind="markup"),),
    separator="",
    call_prefix="<|tool_call>call:",
    call_suffix="<tool_call|>",
    named=True,
)
PYTHONIC: Final = Family(
    name="pythonic",
    tags=(Tag(opener="<|tool_call_start|>", closer="<|tool_call_end|>", kind="markup"),),
    prefix="<|tool_call_start|>[",
    separator=", ",
    suffix="]<|tool_call_end|>",
)

FAMILIES: Final = {
    family.name: family
    for family in (
        HERMES,
        LLAMA3,
        MISTRAL,
        MISTRAL_NAMED,
        PIPED,
        DEEPSEEK,
        KIMI,
        HARMONY,
        GEMMA,
        PYTHONIC,
        GENERIC,
    )
}

THOUGHTS: Final = (
    Thoughts("<think>", "</think>"),
    Thoughts("<thinking>", "</thinking>"),
    Thoughts("<reasoning>", "</reasoning>"),
    Thoughts("[THINK]", "[/THINK]"),
    Thoughts("<seed:think>", "</seed:think>"),
    Thoughts("<|START_THINKING|>", "<|END_THINKING|>"),
    Thoughts("<|inner_prefix|>", "<|inner_suffix|>"),
    Thoughts("<|think|>", "<|/think|>"),
    Thoughts("<|channel>thought", "<channel|>"),
    Thoughts("<|channel|>analysis<|message|>", "<|end|>"),
    Thoughts("<|start|>assistant<|channel|>analysis<|message|>", "<|end|>"),
)

SIGNS: Final = (
    (("<|channel|>analysis",), HARMONY),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK),
    (("<|tool_calls_section_begin|>",), KIMI),
    (("[ARGS]",), MISTRAL_NAMED),
    (("[TOOL_CALLS]",), MISTRAL),
    (("<tool_call>", "<function="), HERMES),
    (("<|python_tag|>", "<|start_header_id|>"), LLAMA3),
    (("<|tool_call_start|>",), PYTHONIC),
    (("<|tool_call>",), GEMMA),
    (("<|tool_call|>", "functools"), PIPED),
)
"""What in a template gives its family away, the first match deciding."""

TURN_ENDS: Final = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|user|>",
    "[INST]",
)


def detect_family(template: str) -> str:
    """The name in `FAMILIES` of the format that a model with this chat template writes calls in."""
    for markers, family in SIGNS:
        if any(marker in template for marker in markers):
            return family.name
    return GENERIC.name


def turn_ends(template: str) -> tuple[str, ...]:
    """Markers that end a turn in this template, in case a model writes them as plain text."""
    found = tuple(end for end in TURN_ENDS if end in template)
    return tuple(end for end in found if end not in HARMONY.noise) if "<|channel|>" in template else found


def opened_thoughts(prompt_tail: str) -> Thoughts | None:
    """The markers of the block that the prompt leaves open for the answer to continue, if any."""
    tail = prompt_tail.rstrip()
    for thoughts in THOUGHTS:
        if tail.endswith(thoughts.opener):
            return thoughts
    return None
