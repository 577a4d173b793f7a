import pytest

from app.core.engine import messages
from app.core.engine.answers import ChatAnswer, TextAnswer
from app.core.kernel.errors import WorkerCrashed
from app.core.kernel.generation import ChatRequest, Finished, Message, TextDelta, Tool, ToolCallDelta

STARTED = messages.Started(request=1, prompt_tokens=3, cached_tokens=2, prompt_tail="<think>\n")


def answer(n: int = 1, family: str = "hermes", tools: tuple[Tool, ...] = (Tool(name="f"),)) -> ChatAnswer:
    request = ChatRequest(model="m", messages=(Message(role="user", content="x"),), n=n, tools=tools)
    return ChatAnswer(request=request, model="m", family=family, new_call_id=lambda: "call_1")


def piece(text: str, choice: int = 0) -> messages.Piece:
    return messages.Piece(request=1, choice=choice, text=text, tokens=(1,))


def finished(reason: str, choice: int = 0) -> messages.Finished:
    return messages.Finished(request=1, choice=choice, reason=reason, completion_tokens=4)  # type: ignore[arg-type]


def test_each_choice_is_parsed_on_its_own() -> None:
    chat = answer(n=2)
    chat.chunks(STARTED)
    chat.chunks(piece("a</think>", 0))
    chat.chunks(piece("b", 1))
    assert chat.chunks(piece("c", 0)) == [TextDelta(text="c", choice=0)]
    assert chat.chunks(piece("</think>d", 1)) == [TextDelta(text="d", choice=1)]


@pytest.mark.parametrize(
    ("reason", "told"), [("stop", "tool_calls"), ("length", "length"), ("cancelled", "cancelled")]
)
def test_a_call_changes_the_reason_only_of_an_answer_that_is_complete(reason: str, told: str) -> None:
    chat = answer()
    chat.chunks(STARTED)
    chunks = chat.chunks(piece('</think><tool_call>{"name": "f", "arguments": {}}</tool_call>'))
    assert isinstance(chunks[-1], ToolCallDelta)
    assert chat.chunks(finished(reason))[-1] == Finished(reason=told, choice=0, completion_tokens=4)  # type: ignore[arg-type]


def test_what_is_held_back_comes_before_the_end() -> None:
    chat = answer()
    chat.chunks(STARTED)
    chat.chunks(piece("</think>a <tool_c"))
    assert chat.chunks(finished("stop"))[0] == TextDelta(text="<tool_c")


@pytest.mark.parametrize(
    "report",
    [
        piece("x"),
        finished("stop"),
        messages.Progress(fraction=0.5),
        messages.Tokens(request=1, tokens=()),
    ],
)
def test_reports_that_make_no_sense_are_the_workers_fault(report: messages.Report) -> None:
    with pytest.raises(WorkerCrashed):
        answer().chunks(report)


@pytest.mark.parametrize("choice", [-1, 1, 1 << 40])
def test_choices_that_nobody_asked_for_are_the_workers_fault(choice: int) -> None:
    chat = answer()
    chat.chunks(STARTED)
    with pytest.raises(WorkerCrashed):
        chat.chunks(piece("x", choice))


def test_a_text_is_passed_on_as_it_is() -> None:
    text = TextAnswer(model="m", choices=2, echo="Once")
    assert [chunk.text for chunk in text.chunks(STARTED) if isinstance(chunk, TextDelta)] == ["Once", "Once"]
    assert text.chunks(piece("<think>{", 1)) == [TextDelta(text="<think>{", choice=1)]
    assert text.chunks(finished("stop")) == [Finished(reason="stop", choice=0, completion_tokens=4)]


@pytest.mark.parametrize("choice", [-1, 2])
def test_a_choice_that_nobody_asked_for_is_a_worker_out_of_its_mind(choice: int) -> None:
    answer = TextAnswer(model="m", choices=2, echo="")
    with pytest.raises(WorkerCrashed):
        answer.chunks(messages.Piece(request=1, choice=choice, text="a", tokens=(1,)))
