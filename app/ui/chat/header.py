"""The line above a conversation: its title, and the model that answers."""

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QStyledItemDelegate, QWidget

from app.ui.backend import ModelChoice
from app.ui.widgets.roles import label


class Header(QWidget):
    """`model_chosen` carries the id of the model that the user picked.

    A demonstration model is labelled so, unless its name already says it.
    """

    model_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._full_title = ""
        self._title = label("", "title")
        self._title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._badge = label(self.tr("Demonstration model"), "badge")
        self._badge.setToolTip(self.tr("A tiny model that shows how SwarmLLM works. It can be wrong."))
        self._picker = QComboBox()
        self._picker.setAccessibleName(self.tr("Model"))
        self._picker.setToolTip(self.tr("The model that answers"))
        self._picker.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self._picker.setItemDelegate(QStyledItemDelegate(self._picker))
        self._picker.activated.connect(self._picked)
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 12, 20, 10)
        row.setSpacing(12)
        row.addWidget(self._title, 1)
        row.addWidget(self._badge, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._picker)

    def show_title(self, title: str) -> None:
        self._full_title = title
        self._title.setToolTip(title)
        self._elide()

    def show_models(self, models: Sequence[ModelChoice], chosen: str) -> None:
        blocker = QSignalBlocker(self._picker)
        self._picker.clear()
        for model in models:
            self._picker.addItem(model.name, model.id)
            self._picker.setItemData(self._picker.count() - 1, model.detail, Qt.ItemDataRole.ToolTipRole)
        self._picker.setCurrentIndex(self._picker.findData(chosen))
        self._picker.setVisible(bool(models))
        blocker.unblock()
        unnamed = (m for m in models if m.id == chosen and "demonstration" not in m.name.lower())
        self._badge.setVisible(any(model.demonstration for model in unnamed))

    def _picked(self, index: int) -> None:
        self.model_chosen.emit(self._picker.itemData(index))

    def _elide(self) -> None:
        metrics = self._title.fontMetrics()
        self._title.setText(
            metrics.elidedText(self._full_title, Qt.TextElideMode.ElideRight, self._title.width())
        )

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._elide()
