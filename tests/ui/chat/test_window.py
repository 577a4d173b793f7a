"""What a person sees and does in the chat window, offscreen."""

import asyncio
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QLabel,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QTextBrowser,
    QWidget,
)

from app.ui.chat.answer import Answer
from app.ui.chat.code_card import CodeCard
from app.ui.chat.live_range import FIRST_PAGE, MAX_LIVE
from app.ui.chat.model import Chat, Turn
from app.ui.chat.problem import Problem
from app.ui.chat.prose import Prose
from app.ui.chat.question import Question
from app.ui.chat.reasoning import Reasoning
from app.ui.chat.store import ChatStore
from app.ui.loop import QtEventLoop
from app.ui.theme.theme import Theme
from tests.support.ui_server import ApiScript
from tests.support.ui_window import SUGGESTIONS, Bench, chat_bench, until


def button(bench: Bench, name: str) -> QAbstractButton:
    return next(found for found in bench.all(QAbstractButton) if found.accessibleName() == name)


def labels(bench: Bench) -> str:
    return "\n".join(found.text() for found in bench.all(QLabel))


def field(bench: Bench) -> QPlainTextEdit:
    return bench.all(QPlainTextEdit)[0]


def click(widget: QWidget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def test_enter_sends_and_shift_enter_breaks_the_line(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            QTest.keyClicks(field(bench), "one")
            QTest.keyClick(field(bench), Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
            QTest.keyClicks(field(bench), "two")
            QTest.keyClick(field(bench), Qt.Key.Key_Return)
            await bench.answered()
            assert bench.desk.current.chat.turns[0].text == "one\ntwo"
            assert field(bench).toPlainText() == ""
            (prose,) = bench.all(Prose)
            assert prose.toPlainText() == "Hello from the node."
            assert "25.0 tok/s  ·  3 tokens  ·  served by this computer" in labels(bench)

    loop.run_until_complete(run())


def test_an_empty_message_is_not_sent(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            QTest.keyClicks(field(bench), "  ")
            QTest.keyClick(field(bench), Qt.Key.Key_Return)
            assert not button(bench, "Send (Enter)").isEnabled()
            assert bench.desk.current.chat.turns == []

    loop.run_until_complete(run())


def test_the_guide_is_labelled_and_suggests_questions(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            assert "Demonstration model" in labels(bench)
            assert "tiny demonstration model" in labels(bench)
            offered = [found for found in bench.all(QPushButton) if found.text() in SUGGESTIONS]
            assert len(offered) == len(SUGGESTIONS)
            click(offered[1])
            await bench.answered()
            assert bench.desk.current.chat.turns[0].text == offered[1].text()

    loop.run_until_complete(run())


def test_other_models_are_not_called_a_demonstration(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        models = [{"id": "q", "name": "Qwen"}, {"id": "swarmllm-guide", "name": "swarmllm-guide"}]
        async with chat_bench(tmp_path, theme, ApiScript(models=models)) as bench:
            assert "emonstration" not in labels(bench)
            picker = bench.all(QComboBox)[0]
            picker.setFocus()
            QTest.keyClick(picker, Qt.Key.Key_Down)
            assert "Demonstration model" in labels(bench)
            await bench.ask("Hi")
            assert bench.script.seen[0]["model"] == "swarmllm-guide"

    loop.run_until_complete(run())


def test_a_node_without_models_says_how_to_get_one(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(models=[])) as bench:
            assert "swarmllm models add" in labels(bench)
            QTest.keyClicks(field(bench), "hi")
            QTest.keyClick(field(bench), Qt.Key.Key_Return)
            assert field(bench).toPlainText() == "hi"

    loop.run_until_complete(run())


def test_the_stop_button_and_escape_stop(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(pieces=["Text"], hold=True)) as bench:
            for _ in range(2):
                bench.desk.send("Go")
                await until(lambda: bench.desk.current.chat.turns[-1].text)
                if len(bench.desk.current.chat.turns) == 2:
                    click(button(bench, "Stop (Esc)"))
                else:
                    QTest.keyClick(field(bench), Qt.Key.Key_Escape)
                await bench.answered()
            assert [turn.stopped for turn in bench.desk.current.chat.turns[1::2]] == [True, True]
            assert "Stopped" in labels(bench)

    loop.run_until_complete(run())


def test_up_or_the_pencil_edit_the_last_question(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask("First")
            await bench.ask("Secnd")
            assert [found.accessibleName() for found in bench.all(QAbstractButton)].count("Edit message") == 1
            QTest.keyClick(field(bench), Qt.Key.Key_Up)
            assert field(bench).toPlainText() == "Secnd"
            QTest.keyClick(field(bench), Qt.Key.Key_Escape)
            assert field(bench).toPlainText() == ""
            click(button(bench, "Edit message"))
            field(bench).setPlainText("Second")
            QTest.keyClick(field(bench), Qt.Key.Key_Return)
            await bench.answered()
            assert [turn.text for turn in bench.desk.current.chat.turns[::2]] == ["First", "Second"]
            assert [found.accessibleName() for found in bench.all(Question)] == ["You", "You"]

    loop.run_until_complete(run())


def test_code_is_shown_in_a_card_and_copied_exactly(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        code = 'def f():\n\treturn "<b>"\n'
        answer = f"See:\n\n```python\n{code}```\n\nand `x`."
        script = ApiScript(
            pieces=[answer[start : start + 3] for start in range(0, len(answer), 3)], delay=0.004
        )
        async with chat_bench(tmp_path, theme, script) as bench:
            await bench.ask("Code")
            card = bench.all(CodeCard)[0]
            assert card.code == code.rstrip("\n")
            click(button(bench, "Copy code"))
            assert QGuiApplication.clipboard().text() == code.rstrip("\n")
            click(button(bench, "Copy answer"))
            assert QGuiApplication.clipboard().text() == answer
            theme.choose("light")
            assert card.isVisible()

    loop.run_until_complete(run())


def test_an_answer_that_turns_out_to_be_code_changes_its_widgets(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        pieces = ["``", "`", "py", "\nx = 1", "\n``", "`\nDone", ".\n\n```\ny\n"]
        async with chat_bench(tmp_path, theme, ApiScript(pieces=pieces, delay=0.06)) as bench:
            await bench.ask("Code")
            assert [card.code for card in bench.all(CodeCard)] == ["x = 1", "y\n"]
            assert [prose.toPlainText() for prose in bench.all(Prose)] == ["Done."]

    loop.run_until_complete(run())


def test_text_of_a_model_opens_no_files_and_loads_nothing(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        secret = tmp_path / "picture.png"
        secret.write_bytes(b"not for you")
        text = f"![x](file://{secret}) <img src='{secret}'> <b>raw</b> [a](file:///etc/passwd)"
        async with chat_bench(tmp_path / "chats", theme, ApiScript(pieces=[text])) as bench:
            await bench.ask("Hi")
            (prose,) = bench.all(Prose)
            assert prose.loadResource(2, QUrl.fromLocalFile(str(secret))) is None
            assert "<b>raw</b>" in prose.toPlainText()
            prose.anchorClicked.emit(QUrl("file:///etc/passwd"))
            assert not prose.openLinks()

    loop.run_until_complete(run())


def test_reasoning_is_folded_until_asked_for(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(reasoning=["First ", "I think."])
        async with chat_bench(tmp_path, theme, script) as bench:
            await bench.ask("Hi")
            (reasoning,) = bench.all(Reasoning)
            assert len(bench.all(Prose)) == 1
            toggle = reasoning.findChildren(QPushButton)[0]
            assert toggle.text().startswith("Thought for")
            click(toggle)
            assert sorted(prose.toPlainText() for prose in bench.all(Prose)) == [
                "First I think.",
                "Hello from the node.",
            ]
            click(toggle)
            assert len(bench.all(Prose)) == 1

    loop.run_until_complete(run())


def test_an_error_card_offers_retry(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(error={"message": "The worker crashed.", "code": "worker_crashed"})
        async with chat_bench(tmp_path, theme, script) as bench:
            await bench.ask("Hi")
            (problem,) = bench.all(Problem)
            assert "The worker crashed." in labels(bench)
            script.error = None
            click(problem.findChildren(QPushButton)[0])
            await bench.answered()
            assert bench.all(Problem) == []
            assert len(bench.all(Answer)) == 1

    loop.run_until_complete(run())


def test_the_view_follows_until_the_user_scrolls_up(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(pieces=["line\n\n"] * 60, hold=True)
        async with chat_bench(tmp_path, theme, script) as bench:
            view = bench.desktop.window.conversation
            bar = view.verticalScrollBar()
            bench.desk.send("Go")
            await until(lambda: bar.maximum() > 400 and bar.value() == bar.maximum())
            bar.setValue(100)
            assert not view.following
            script.hold = False
            bench.desk.stop()
            await bench.answered()
            assert bar.value() == 100
            click(button(bench, "Go to the newest message"))
            await until(lambda: view.following and bar.value() == bar.maximum())

    loop.run_until_complete(run())


@pytest.mark.slow
def test_a_long_chat_keeps_few_widgets_and_loads_more_on_scroll(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        turns = [Turn(role="user", text=f"message {number}") for number in range(260)]
        await ChatStore(tmp_path).save(Chat(id="e" * 32, created=1, updated=1, title="Long", turns=turns))
        async with chat_bench(tmp_path, theme) as bench:
            bench.desk.open_chat("e" * 32)
            view = bench.desktop.window.conversation
            bar = view.verticalScrollBar()
            assert view.live_count == FIRST_PAGE
            await until(lambda: bar.value() == bar.maximum() > 0)
            while "message 0" not in shown_text(bench.all(Question)):
                before = top_question(bench)
                bar.setValue(0)
                assert view.live_count <= MAX_LIVE
                assert top_question(bench) < before
            await until(lambda: len(bench.all(Question)) == MAX_LIVE)
            click(button(bench, "Go to the newest message"))
            await until(lambda: view.following)
            assert "message 259" in shown_text(bench.all(Question))

    loop.run_until_complete(run())


def top_question(bench: Bench) -> int:
    return min(int(text.split()[1]) for text in shown_text(bench.all(Question)))


def shown_text(questions: list[Question]) -> set[str]:
    return {question.findChildren(QTextBrowser)[0].toPlainText() for question in questions}


def test_chats_are_found_renamed_and_deleted(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask("About trees")
            bench.desktop.window.new_chat()
            await bench.ask("About houses")
            sidebar = bench.desktop.window.sidebar
            assert [sidebar._list.item(row).text() for row in range(2)] == ["About houses", "About trees"]
            QTest.keyClicks(sidebar._search, "tree")
            assert sidebar._list.count() == 1
            sidebar._search.clear()
            sidebar._list.item(1).setText("Forest")
            assert bench.desk.chats[1].title == "Forest"
            sidebar._list.setCurrentRow(1)
            assert bench.desk.current.chat.title == "Forest"
            QTest.keyClick(sidebar._list, Qt.Key.Key_Delete)
            box = bench.desktop.window.findChildren(QMessageBox)[0]
            assert "Forest" in box.text()
            click(next(found for found in box.buttons() if found.text() == "Delete"))
            await until(lambda: len(bench.desk.chats) == 1)
            assert sidebar._list.item(0).text() == "About houses"

    loop.run_until_complete(run())


def test_every_control_has_a_name_for_screen_readers(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        script = ApiScript(reasoning=["Hm."], pieces=["```py\nx\n```"])
        async with chat_bench(tmp_path, theme, script) as bench:
            await bench.ask("Hi")
            nameless = [
                found
                for kind in (QAbstractButton, QPlainTextEdit, QComboBox)
                for found in bench.all(kind)
                if not (found.accessibleName() or getattr(found, "text", str)())
            ]
            assert nameless == []
            focusable = [
                found
                for found in bench.all(QAbstractButton)
                if found.isEnabled() and found.focusPolicy() & Qt.FocusPolicy.TabFocus
            ]
            assert len(focusable) == len([found for found in bench.all(QAbstractButton) if found.isEnabled()])

    loop.run_until_complete(run())


def test_without_a_tray_closing_asks_and_quits(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            assert not bench.desktop.tray.available
            assert "closing this window quits" in labels(bench)
            bench.desktop.window.close()
            assert bench.desktop.window.isVisible()
            (box,) = bench.desktop.window.findChildren(QMessageBox)
            click(next(found for found in box.buttons() if found.text() == "Quit"))
            assert bench.left == [True]

    loop.run_until_complete(run())


def test_a_warning_of_the_node_can_be_read(loop: QtEventLoop, theme: Theme, tmp_path: Path) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme, ApiScript(warnings=["Keys lie in plain files."])) as bench:
            watching = asyncio.create_task(bench.status.watch(bench.backend))
            await until(lambda: bench.status.current.warnings)
            click(button(bench, "The node has a warning"))
            (box,) = bench.desktop.window.findChildren(QMessageBox)
            assert box.informativeText() == "Keys lie in plain files."
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    loop.run_until_complete(run())


def test_the_bubble_of_a_question_is_as_wide_as_its_text(
    loop: QtEventLoop, theme: Theme, tmp_path: Path
) -> None:
    async def run() -> None:
        async with chat_bench(tmp_path, theme) as bench:
            await bench.ask("Hi")
            await bench.ask("word " * 100)
            short, long_ = bench.all(Question)
            corner = QPoint(0, 0)
            assert short._bubble.width() < 80
            assert 400 < long_._bubble.width() <= 600
            assert long_._bubble.mapTo(long_, corner).x() + long_._bubble.width() == long_.width()

    loop.run_until_complete(run())
