"""A button that is only an icon: it always has a name for screen readers and a tooltip."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QToolButton, QWidget

from app.ui.theme.theme import Theme


class IconButton(QToolButton):
    """`colour` names the palette entry that the icon is drawn in."""

    def __init__(
        self,
        icon: str,
        label: str,
        *,
        theme: Theme,
        colour: str = "muted",
        size: int = 16,
        role: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._icon = icon
        self._colour = colour
        self._theme = theme
        self._size = size
        self.setIconSize(QSize(size, size))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        if role:
            self.setProperty("role", role)
        self.describe(label)
        self._draw()
        theme.changed.connect(self._draw)

    def describe(self, label: str) -> None:
        self.setToolTip(label)
        self.setAccessibleName(label)

    def show_icon(self, icon: str) -> None:
        if icon != self._icon:
            self._icon = icon
            self._draw()

    def _draw(self) -> None:
        palette = self._theme.palette
        colour = getattr(palette, self._colour)
        self.setIcon(self._theme.icons.glyph(self._icon, colour, self._size, disabled=palette.muted))
