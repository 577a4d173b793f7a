"""Asking, streaming, stopping, repeating and keeping chats, over real HTTP."""

import asyncio
from pathlib import Path

from app.ui.chat.model import Chat, Turn
from app.ui.chat.store import ChatStore
from app.ui.loop import QtEventLoop
from app.ui.theme.theme import Theme
from tests.support.ui_server import ApiScript
from tests.support.ui_window import Bench, chat_bench, until


def texts(bench: Bench) -> list[str]:
    return [turn.text for turn in bench.desk.current.chat.turns]


def test_an_answer_streams_in_and_keeps_its_figures(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask(" Hi there ")
            question, answer = bench.desk.current.chat.turns
            assert (question.text, answer.text) == ("Hi there", "Hello from the **node**.")
            assert (answer.tokens, answer.finish, answer.model) == (3, "stop", "swarmllm-guide")
            assert round(answer.seconds, 6) == 0.12
            assert bench.desk.current.chat.title == "Hi there"
            (seen,) = bench.script.seen
            assert seen["messages"] == [{"role": "user", "content": "Hi there"}]
            assert seen["session_id"] == bench.desk.current.chat.id

    loop.run_until_complete(run())


def test_fast_tokens_are_drawn_a_few_times_only(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(pieces=["word "] * 2000)
        async with chat_bench(tmp_path, theme, script) as bench:
            drawn: list[int] = []
            bench.desk.current.changed.connect(drawn.append)
            await bench.ask("Go")
            assert texts(bench)[1] == "word " * 2000
            assert len(drawn) < 400

    loop.run_until_complete(run())


def test_stop_ends_the_work_in_the_node_and_keeps_the_text(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        script = ApiScript(pieces=["Once upon"], hold=True)
        async with chat_bench(tmp_path, theme, script) as bench:
            bench.desk.send("Tell")
            await until(lambda: texts(bench)[1:] == ["Once upon"])
            assert bench.status.current.phase.value == "busy"
            bench.desk.stop()
            await bench.answered()
            answer = bench.desk.current.chat.turns[1]
            assert (answer.stopped, answer.error) == (True, "")
            await until(lambda: script.hung_up == 1)
            assert bench.status.current.phase.value == "ready"

    loop.run_until_complete(run())


def test_regenerate_and_edit_replace_what_followed(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask("One")
            await bench.ask("Two")
            bench.script.pieces = ["Anew"]
            bench.desk.regenerate()
            await bench.answered()
            assert texts(bench) == ["One", "Hello from the **node**.", "Two", "Anew"]
            bench.desk.edit_last("Three")
            await bench.answered()
            assert texts(bench) == ["One", "Hello from the **node**.", "Three", "Anew"]
            sent = bench.script.seen[-1]["messages"]
            assert [message["content"] for message in sent] == ["One", "Hello from the **node**.", "Three"]

    loop.run_until_complete(run())


def test_an_error_is_a_sentence_and_retry_asks_again(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(error={"message": "The queue is full; try again later.", "code": "overloaded"})
        async with chat_bench(tmp_path, theme, script) as bench:
            await bench.ask("Hi")
            assert bench.desk.current.chat.turns[1].error == "The queue is full; try again later."
            script.error = None
            bench.desk.regenerate()
            await bench.answered()
            assert texts(bench) == ["Hi", "Hello from the **node**."]
            assert bench.desk.current.chat.turns[1].error == ""

    loop.run_until_complete(run())


def test_a_broken_stream_keeps_its_text_and_says_so(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(pieces=["Half"], cut=True)) as bench:
            await bench.ask("Hi")
            answer = bench.desk.current.chat.turns[1]
            assert answer.text == "Half"
            assert "broke off" in answer.error

    loop.run_until_complete(run())


def test_a_chat_goes_on_while_another_is_in_view(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(delay=0.05)) as bench:
            bench.desk.send("First")
            first = bench.desk.current
            await until(lambda: first.chat.turns[1].text)
            bench.desk.new_chat()
            assert bench.desk.current is not first
            await until(lambda: not first.busy)
            bench.desk.open_chat(first.chat.id)
            assert texts(bench)[1] == "Hello from the **node**."

    loop.run_until_complete(run())


def test_chats_are_there_after_a_restart(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask("Remember")
            bench.desk.rename(bench.desk.current.chat.id, "Kept")
        (chat,) = await ChatStore(tmp_path).load()
        assert chat.title == "Kept"
        assert [turn.text for turn in chat.turns] == ["Remember", "Hello from the **node**."]

    loop.run_until_complete(run())


def test_the_question_is_on_disk_before_its_answer(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> list[Chat]:
        async with chat_bench(tmp_path, theme, ApiScript(pieces=[], hold=True)) as bench:
            bench.desk.send("Important")
            await until(lambda: bench.script.seen)
            await until(lambda: list(tmp_path.glob("*.json")))
            return await ChatStore(tmp_path).load()

    (chat,) = loop.run_until_complete(run())
    assert chat.turns[0].text == "Important"


def test_quitting_in_mid_answer_keeps_what_was_written(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(pieces=["So far"], hold=True)) as bench:
            bench.desk.send("Go")
            await until(lambda: texts(bench)[1:] == ["So far"])
        (chat,) = await ChatStore(tmp_path).load()
        assert (chat.turns[1].text, chat.turns[1].stopped) == ("So far", True)

    loop.run_until_complete(run())


def test_a_deleted_chat_stays_deleted(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(hold=True)) as bench:
            bench.desk.send("Gone")
            await until(lambda: list(tmp_path.glob("*.json")))
            bench.desk.delete(bench.desk.current.chat.id)
            await until(lambda: not list(tmp_path.glob("*.json")))
            await asyncio.sleep(0.05)
            assert bench.desk.chats == []
            assert bench.desk.current.chat.turns == []
        assert await ChatStore(tmp_path).load() == []

    loop.run_until_complete(run())


def test_a_disk_that_refuses_is_reported(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> list[str]:
        blocked = tmp_path / "file"
        blocked.write_text("")
        troubles: list[str] = []
        async with chat_bench(blocked, theme) as bench:
            bench.desk.troubled.connect(troubles.append)
            await bench.ask("Hi")
            await until(lambda: troubles)
            assert texts(bench)[1] == "Hello from the **node**."
        return troubles

    assert "could not be written" in loop.run_until_complete(run())[0]


def test_a_chat_that_cannot_be_written_does_not_cost_another_one_its_change(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    good, bad = "a" * 32, "b" * 32

    async def run() -> list[Chat]:
        for chat_id in (good, bad):
            await ChatStore(tmp_path).save(Chat(id=chat_id, created=1, updated=1, title="Old"))
        async with chat_bench(tmp_path, theme) as bench:
            (tmp_path / f"{bad}.json").unlink()
            (tmp_path / f"{bad}.json").mkdir()
            for chat_id in (good, bad):
                bench.desk.rename(chat_id, "New")
        (tmp_path / f"{bad}.json").rmdir()
        return await ChatStore(tmp_path).load()

    assert [chat.title for chat in loop.run_until_complete(run())] == ["New"]


def test_the_model_of_a_chat_is_used_again(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    models = [{"id": "a", "name": "Alpha"}, {"id": "b", "name": "Beta"}]

    async def run() -> None:
        old = Chat(
            id="f" * 32, created=1, updated=1, title="Old", model="b", turns=[Turn(role="user", text="x")]
        )
        await ChatStore(tmp_path).save(old)
        async with chat_bench(tmp_path, theme, ApiScript(models=models)) as bench:
            assert bench.desk.model is not None
            assert bench.desk.model.name == "Alpha"
            bench.desk.open_chat("f" * 32)
            assert bench.desk.model.name == "Beta"
            await bench.ask("Go")
            assert bench.script.seen[0]["model"] == "b"

    loop.run_until_complete(run())
