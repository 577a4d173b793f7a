"""The chat: one question through a pipe, and a conversation in a real terminal."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import run
from app.core.kernel.errors import Overloaded
from app.core.kernel.generation import ReasoningDelta
from tests.support.api_router import answer, whole
from tests.support.api_server import Node
from tests.support.cli_node import FixedHost, write_runtime
from tests.support.cli_terminal import terminal


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SWARMLLM_")}
    return kept | {"TERM": "dumb", "INPUTRC": os.devnull}


def test_one_question_prints_the_answer(
    host: FixedHost, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["chat", "Hi?", "--system", "Be brief.", "--max-tokens", "9", "--temperature", "0"]
    assert run([*argv, "--model-name", "guide"], host=host) == 0
    assert capsys.readouterr().out == "Hello\n"
    request = node.router.last
    assert [(turn.role, turn.content) for turn in request.messages] == [
        ("system", "Be brief."),
        ("user", "Hi?"),
    ]
    assert (request.sampling.max_tokens, request.sampling.temperature) == (9, 0.0)
    assert request.model == "guide"


def test_thoughts_and_figures_stay_out_of_a_pipe(
    host: FixedHost, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.router.script = whole(ReasoningDelta(text="Hmm.", choice=0), *answer("Yes."))
    assert run(["chat", "Hi?"], host=host) == 0
    assert capsys.readouterr().out == "Yes.\n"


def test_a_failing_answer_is_one_line_and_exit_code_1(
    host: FixedHost, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.router.script = [Overloaded("The queue is full.")]
    assert run(["chat", "Hi?"], host=host) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "swarmllm: The queue is full.\n")


def test_history_is_kept_and_gone_on_with(
    host: FixedHost, node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.json"
    assert run(["chat", "One?", "--history", str(file), "--system", "Be brief."], host=host) == 0
    assert run(["chat", "Two?", "--history", str(file)], host=host) == 0
    said = [(turn.role, turn.content) for turn in node.router.last.messages]
    assert said == [("system", "Be brief."), ("user", "One?"), ("assistant", "Hello"), ("user", "Two?")]
    assert len(json.loads(file.read_text())) == 5
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b'[{"role": "king", "content": ""}]', b"\xff", b'[{"role": "\xff"}]']
)
def test_a_history_that_is_none_is_refused_and_kept(
    host: FixedHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    file = tmp_path / "talk.json"
    file.write_bytes(content)
    assert run(["chat", "One?", "--history", str(file)], host=host) == 1
    assert "is not a conversation" in capsys.readouterr().err
    assert file.read_bytes() == content


def test_a_question_comes_through_a_pipe(node: Node, tmp_path: Path) -> None:
    write_runtime(tmp_path, node.url)
    done = subprocess.run(
        [sys.executable, "-m", "app", "chat", "-d", str(tmp_path)],
        input="Piped?\n",
        capture_output=True,
        text=True,
        env=environ(),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Hello\n"), done.stderr
    assert node.router.last.messages[-1].content == "Piped?\n"


def test_a_conversation_in_a_terminal(node: Node, tmp_path: Path) -> None:
    write_runtime(tmp_path, node.url)
    with terminal("chat", "-d", str(tmp_path), environ=environ()) as chat:
        chat.read_until("> ")
        chat.type("First?\n")
        chat.read_until("Hello\n")
        chat.read_until("2 tokens, 8.0 a second")
        chat.read_until("> ")
        chat.type("Second?\n")
        chat.read_until("Hello\n")
        assert [turn.content for turn in node.router.last.messages] == ["First?", "Hello", "Second?"]
        chat.read_until("> ")
        chat.type("/retry\n")
        chat.read_until("Hello\n")
        assert [turn.content for turn in node.router.last.messages] == ["First?", "Hello", "Second?"]
        chat.read_until("> ")
        chat.type("/system Be kind.\n/new\n/model other\nThird?\n")
        chat.read_until("Hello\n")
        assert node.router.last.model == "other"
        assert [turn.role for turn in node.router.last.messages] == ["system", "user"]
        chat.type("/models\n")
        chat.read_until("guide\n")
        chat.type("/nonsense\n")
        chat.read_until("There is no command /nonsense")
        chat.type("/exit\n")
        assert chat.end() == 0
    assert "Second?" in (tmp_path / "chat_input").read_text()
    assert (tmp_path / "chat_input").stat().st_mode & 0o777 == 0o600


def test_ctrl_c_stops_the_answer_and_not_the_chat(node: Node, tmp_path: Path) -> None:
    node.router.script = [*whole(*answer("Once upon"))[:2], asyncio.Event()]
    write_runtime(tmp_path, node.url)
    with terminal("chat", "-d", str(tmp_path), environ=environ()) as chat:
        chat.read_until("> ")
        chat.type("Tell!\n")
        chat.read_until("Once upon")
        chat.interrupt()
        chat.read_until("(stopped)")
        chat.read_until("> ")
        node.router.script = whole(*answer("Well."))
        chat.type("Go on.\n")
        chat.read_until("Well.")
        said = [turn.content for turn in node.router.last.messages]
        assert said == ["Tell!", "Once upon", "Go on."]
        chat.read_until("> ")
        chat.type("\x04")
        assert chat.end() == 0
    assert node.router.open == 0


def test_a_model_cannot_take_over_the_terminal(node: Node, tmp_path: Path) -> None:
    node.router.script = whole(*answer("a\x1b]0;owned\x07b\x9b2Jc\nd\te"))
    write_runtime(tmp_path, node.url)
    with terminal("chat", "Hi?", "-d", str(tmp_path), environ=environ()) as chat:
        assert chat.end() == 0
        assert chat.text.startswith("a]0;ownedb2Jc\nd")
