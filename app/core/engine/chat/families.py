"""How the model families write tool calls and thoughts, as data.

Sources: the chat templates that the models' makers ship, and their model cards.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Tag:
    """Tool calls follow `opener`; `closer`, if there is one, may be left out by a sloppy model.

    `markup`: the opener is itself a part of the call. `code`: Python may follow instead of JSON.
    """

    opener: str
    closer: str | None = None
    markup: bool = False
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """`bare_json`: an answer that begins with a JSON object naming a known tool is a call.

    `arguments_key` is the key that the family's own format uses. `prefix`, `separator` and `suffix` of
    the calls are what a constrained answer is made of (`grammar.py`); `named` calls are written
    `name{arguments}` instead of as one JSON object.
    """

    name: str
    tags: tuple[Tag, ...] = ()
    bare_json: bool = True
    arguments_key: str = "arguments"
    call_prefix: str = ""
    call_suffix: str = ""
    prefix: str = ""
    separator: str = "\n"
    suffix: str = ""
    named: bool = False


@dataclass(frozen=True)
class Thoughts:
    """Markers around what a model thinks before it answers."""

    opener: str
    closer: str


HERMES: Final = Family(
    name="hermes",
    tags=(
        Tag(opener="<tool_call>", closer="</tool_call>"),
        Tag(opener="<function=", closer="</function>", markup=True),
    ),
    call_prefix="<tool_call>\n",
    call_suffix="\n</tool_call>",
)
LLAMA3: Final = Family(
    name="llama3", tags=(Tag(opener="<|python_tag|>", code=True),), arguments_key="parameters", separator="; "
)
MISTRAL: Final = Family(
    name="mistral", tags=(Tag(opener="[TOOL_CALLS]"),), prefix="[TOOL_CALLS] [", separator=", ", suffix="]"
)
MISTRAL_NAMED: Final = Family(
    name="mistral-named",
    tags=(Tag(opener="[TOOL_CALLS]"),),
    call_prefix="[TOOL_CALLS]",
    separator="",
    named=True,
)
PIPED: Final = Family(
    name="piped",
    tags=(
        Tag(opener="<|tool_call|>", closer="<|/tool_call|>"),
        Tag(opener="<|tool_call>", closer="<tool_call|>"),
        Tag(opener="functools"),
    ),
    prefix="<|tool_call|>[",
    separator=", ",
    suffix="]<|/tool_call|>",
)
GENERIC: Final = Family(
    name="generic", tags=(Tag(opener="<tool_call>", closer="</tool_call>"), Tag(opener="[TOOL_CALLS]"))
)

FAMILIES: Final = {family.name: family for family in (HERMES, LLAMA3, MISTRAL, MISTRAL_NAMED, PIPED, GENERIC)}

THOUGHTS: Final = (
    Thoughts("<think>", "</think>"),
    Thoughts("<thinking>", "</thinking>"),
    Thoughts("<reasoning>", "</reasoning>"),
    Thoughts("[THINK]", "[/THINK]"),
    Thoughts("<seed:think>", "</seed:think>"),
    Thoughts("<|START_THINKING|>", "<|END_THINKING|>"),
    Thoughts("<|inner_prefix|>", "<|inner_suffix|>"),
    Thoughts("<|think|>", "<|/think|>"),
)

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
    if "[TOOL_CALLS]" in template:
        return "mistral-named" if "[ARGS]" in template else "mistral"
    if "<tool_call>" in template or "<function=" in template:
        return "hermes"
    if "<|python_tag|>" in template or "<|start_header_id|>" in template:
        return "llama3"
    if "<|tool_call|>" in template or "functools" in template:
        return "piped"
    return "generic"


def opened_thoughts(prompt_tail: str) -> Thoughts | None:
    """The markers of the block that the prompt leaves open for the answer to continue, if any."""
    tail = prompt_tail.rstrip()
    for thoughts in THOUGHTS:
        if tail.endswith(thoughts.opener):
            return thoughts
    return None
