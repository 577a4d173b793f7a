"""Answers and conversations that the chat tests share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from app.core.engine.chat import AnswerParser
from app.core.kernel.generation import ReasoningDelta, TextDelta, Tool, ToolCallDelta

WEATHER = Tool(
    name="get_weather",
    description="Weather of a city",
    parameters='{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},'
    ' "required": ["city"]}',
)
ADD = Tool(name="add", description="Adds")
TOOLS = (WEATHER, ADD)


@dataclass
class Answer:
    """An answer's parts, concatenated. `calls` are (id, name, arguments)."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)


def parse(
    family: str,
    parts: Iterable[str],
    *,
    tools: Sequence[Tool] = TOOLS,
    prompt_tail: str = "",
    parallel: bool = True,
) -> Answer:
    """What the parser makes of an answer that arrives as `parts`; ids are id0, id1, ..."""
    numbers = count()
    parser = AnswerParser(family, tools, prompt_tail, parallel=parallel, new_id=lambda: f"id{next(numbers)}")
    events = [event for part in parts for event in parser.feed(part)] + parser.finish()
    return collect(events)


def collect(events: Iterable[TextDelta | ReasoningDelta | ToolCallDelta]) -> Answer:
    answer = Answer()
    for event in events:
        match event:
            case TextDelta():
                answer.text += event.text
            case ReasoningDelta():
                answer.reasoning += event.text
            case ToolCallDelta():
                if event.id is not None:
                    assert event.call == len(answer.calls)
                    assert event.name
                    answer.calls.append((event.id, event.name, ""))
                identity, name, arguments = answer.calls[event.call]
                answer.calls[event.call] = (identity, name, arguments + event.arguments)
    return answer
