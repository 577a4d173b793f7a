"""The appearance in use: follows the setting, and the desktop when the setting says "system"."""

import logging

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from app.ui.resources import FONTS, ICONS
from app.ui.theme import tokens
from app.ui.theme.icons import Icons
from app.ui.theme.stylesheet import stylesheet
from app.ui.theme.tokens import DARK, LIGHT, Palette

log = logging.getLogger(__name__)


class Theme(QObject):
    """`changed` tells that `palette` is another one now; widgets that paint colours repaint then."""

    changed = Signal()

    def __init__(self, application: QApplication, choice: str) -> None:
        """`choice` is "dark", "light" or "system"."""
        super().__init__(application)
        self.icons = Icons()
        self._application = application
        self._choice = choice
        self._palette = self._wanted()
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow)

    @property
    def palette(self) -> Palette:
        return self._palette

    def install(self) -> None:
        """Loads the fonts and styles the application."""
        load_fonts()
        self._application.setStyle("Fusion")
        self._application.setFont(sans())
        self._apply()

    def choose(self, choice: str) -> None:
        self._choice = choice
        self._follow()

    def _wanted(self) -> Palette:
        if self._choice == "system":
            return LIGHT if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Light else DARK
        return LIGHT if self._choice == "light" else DARK

    def _follow(self) -> None:
        wanted = self._wanted()
        if wanted is not self._palette:
            self._palette = wanted
            self._apply()
            self.changed.emit()

    def _apply(self) -> None:
        self._application.setPalette(_qt_palette(self._palette))
        chevron = ICONS / f"drop-{self._palette.name}.svg"
        self._application.setStyleSheet(stylesheet(self._palette, chevron=chevron.as_posix()))


def load_fonts() -> None:
    for path in sorted((*FONTS.glob("*.otf"), *FONTS.glob("*.ttf"))):
        if QFontDatabase.addApplicationFont(str(path)) < 0:
            log.warning("The font %s could not be loaded; a font of the system stands in.", path.name)


def sans(pixels: int = tokens.TEXT_UI) -> QFont:
    font = QFont(tokens.SANS)
    font.setPixelSize(pixels)
    return font


def mono(pixels: int = tokens.TEXT_CODE) -> QFont:
    font = QFont(tokens.MONO)
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPixelSize(pixels)
    return font


def _qt_palette(palette: Palette) -> QPalette:
    roles = {
        QPalette.ColorRole.Window: palette.window,
        QPalette.ColorRole.WindowText: palette.text,
        QPalette.ColorRole.Base: palette.window,
        QPalette.ColorRole.AlternateBase: palette.raised,
        QPalette.ColorRole.Text: palette.text,
        QPalette.ColorRole.PlaceholderText: palette.muted,
        QPalette.ColorRole.Button: palette.raised,
        QPalette.ColorRole.ButtonText: palette.text,
        QPalette.ColorRole.ToolTipBase: palette.raised,
        QPalette.ColorRole.ToolTipText: palette.text,
        QPalette.ColorRole.Highlight: palette.selection,
        QPalette.ColorRole.HighlightedText: palette.text,
        QPalette.ColorRole.Link: palette.link,
        QPalette.ColorRole.Accent: palette.accent,
    }
    result = QPalette()
    for role, colour in roles.items():
        result.setColor(role, QColor(colour))
    return result
