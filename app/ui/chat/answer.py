"""An answer: who answered, what it thought, prose and code, and how fast it came."""

from PySide6.QtCore import QLocale, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.ui.chat.code_card import CodeCard
from app.ui.chat.markdown import Segment, segments
from app.ui.chat.model import Turn, speed
from app.ui.chat.problem import Problem
from app.ui.chat.prose import Prose
from app.ui.chat.reasoning import Reasoning
from app.ui.theme.theme import Theme
from app.ui.widgets.copy import CopyFeedback
from app.ui.widgets.icon_button import IconButton
from app.ui.widgets.pulse import Pulse
from app.ui.widgets.roles import discard, label


class Answer(QWidget):
    """`show_turn` brings the widgets up to date; only what changed is laid out again."""

    regenerate_asked = Signal()

    def __init__(self, turn: Turn, *, theme: Theme, model_name: str) -> None:
        super().__init__()
        self._turn = turn
        self._theme = theme
        self._parts: list[tuple[Segment, Prose | CodeCard]] = []
        self._reasoning: Reasoning | None = None
        self._problem: Problem | None = None
        self._pulse = Pulse(self.tr("Waiting for the answer"), theme=theme)
        self._meta = label("", "small")
        self._copy = IconButton("copy", self.tr("Copy answer"), theme=theme)
        self._again = IconButton("refresh", self.tr("Write another answer (Ctrl+R)"), theme=theme)
        self._feedback = CopyFeedback(self._copy, "")
        self._copy.clicked.connect(self._copy_text)
        self._again.clicked.connect(self.regenerate_asked)
        self.setAccessibleName(self.tr("Answer of {model}").format(model=model_name))
        self._arrange(model_name)

    def _arrange(self, model_name: str) -> None:
        head = QHBoxLayout()
        head.setSpacing(8)
        icon = QLabel()
        icon.setPixmap(self._theme.icons.mark(18))
        head.addWidget(icon)
        head.addWidget(label(model_name, "name"))
        head.addStretch()
        self._body = QVBoxLayout()
        self._body.setSpacing(10)
        self._footer = QWidget()
        foot = QHBoxLayout(self._footer)
        foot.setContentsMargins(0, 0, 0, 0)
        foot.setSpacing(2)
        foot.addWidget(self._copy)
        foot.addWidget(self._again)
        foot.addSpacing(6)
        foot.addWidget(self._meta)
        foot.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(head)
        column.addLayout(self._body)
        column.addWidget(self._pulse)
        column.addWidget(self._footer)

    def show_turn(self, *, streaming: bool, last: bool) -> None:
        turn = self._turn
        self._show_reasoning(streaming)
        self._show_parts(segments(turn.text))
        self._show_problem(last)
        self._pulse.setVisible(streaming and not turn.text)
        self._footer.setVisible(not streaming and bool(turn.text or not turn.error))
        self._copy.setVisible(bool(turn.text))
        self._again.setVisible(last and not turn.error)
        self._meta.setText(self._facts())

    def _show_reasoning(self, streaming: bool) -> None:
        if not self._turn.reasoning:
            return
        if self._reasoning is None:
            self._reasoning = Reasoning(theme=self._theme)
            self._body.insertWidget(0, self._reasoning)
        self._reasoning.show_turn(self._turn, thinking=streaming and not self._turn.text)

    def _show_parts(self, wanted: list[Segment]) -> None:
        kept = 0
        while kept < min(len(wanted), len(self._parts)) and _fits(self._parts[kept][1], wanted[kept]):
            kept += 1
        for _, widget in self._parts[kept:]:
            discard(widget)
        del self._parts[kept:]
        for index, segment in enumerate(wanted):
            if index < kept and self._parts[index][0] == segment:
                continue
            widget = self._parts[index][1] if index < kept else self._add_part(segment)
            self._parts[index : index + 1] = [(segment, widget)]
            if isinstance(widget, CodeCard):
                widget.show_code(segment.text, segment.language or "")
            else:
                widget.show_markdown(segment.text)

    def _add_part(self, segment: Segment) -> Prose | CodeCard:
        widget: Prose | CodeCard
        if segment.language is None:
            widget = Prose(theme=self._theme)
            widget.setAccessibleName(self.tr("Answer"))
        else:
            widget = CodeCard(theme=self._theme)
        position = len(self._parts) + (self._reasoning is not None)
        self._body.insertWidget(position, widget)
        widget.show()
        return widget

    def _show_problem(self, last: bool) -> None:
        if not self._turn.error:
            return
        if self._problem is None:
            self._problem = Problem(theme=self._theme)
            self._problem.retry_asked.connect(self.regenerate_asked)
            self._body.addWidget(self._problem)
        self._problem.explain(self._turn.error, can_retry=last)

    def _facts(self) -> str:
        turn = self._turn
        facts = []
        if turn.stopped:
            facts.append(self.tr("Stopped"))
        if turn.finish == "length":
            facts.append(self.tr("Cut off at the length limit"))
        if rate := speed(turn):
            facts.append(self.tr("{rate} tok/s").format(rate=QLocale().toString(rate, "f", 1)))
        if turn.tokens == 1:
            facts.append(self.tr("1 token"))
        elif turn.tokens:
            facts.append(self.tr("%n tokens", "", turn.tokens))
        if turn.finish:
            served_by = turn.served_by or self.tr("this computer")
            facts.append(self.tr("served by {name}").format(name=served_by))
        return "  ·  ".join(facts)

    def _copy_text(self) -> None:
        QGuiApplication.clipboard().setText(self._turn.text)
        self._feedback.show()


def _fits(widget: Prose | CodeCard, segment: Segment) -> bool:
    return isinstance(widget, CodeCard) == (segment.language is not None)
