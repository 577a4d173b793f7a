"""The one style sheet, written from the tokens.

It sets no fonts except by role: a font in a global style sheet would override `setFont` everywhere.
Widgets ask for a look through the dynamic property `role`, never through a style sheet of their own.
"""

from string import Template

from app.ui.theme import tokens
from app.ui.theme.tokens import Palette

_SHEET = Template("""
QWidget { color: $text; selection-background-color: $selection; selection-color: $text; }
QWidget[role="window"], QWidget[role="canvas"] { background: $window; }
QWidget[role="sidebar"] { background: $sidebar; border: 0; }
QFrame[role="divider"] { background: $line; border: 0; }
QToolTip { background: $raised; color: $text; border: 1px solid $line; padding: 4px 6px; }

QLabel { background: transparent; }
QLabel[role="display"] { font-size: ${display}px; font-weight: 600; }
QLabel[role="title"] { font-size: ${title}px; font-weight: 600; }
QLabel[role="lead"] { font-size: ${body}px; color: $muted; }
QLabel[role="small"] { font-size: ${small}px; color: $muted; }
QLabel[role="name"] { font-size: ${small}px; font-weight: 600; color: $muted; }
QLabel[role="error"] { color: $text; }
QLabel[role="badge"] {
  font-size: ${small}px; color: $link; background: $raised; border-radius: 8px; padding: 2px 9px;
}

QFrame[role="bubble"] { background: $raised; border-radius: ${large}px; }
QFrame[role="code"] { background: $code; border: 1px solid $line; border-radius: ${radius}px; }
QFrame[role="problem"] { background: $danger_soft; border: 1px solid $danger; border-radius: ${radius}px; }
QFrame[role="aside"] { background: transparent; border: 0; border-left: 2px solid $line; }
QFrame[role="composer"] { background: $raised; border: 1px solid $line; border-radius: ${large}px; }
QFrame[role="composer"][active="true"] { border: 1px solid $accent; }

QTextBrowser, QPlainTextEdit { background: transparent; border: 0; padding: 0; }
QPlainTextEdit { font-size: ${body}px; }

QPushButton {
  background: $raised; border: 1px solid $line; border-radius: ${radius}px; padding: 7px 14px;
}
QPushButton:hover { background: $hover; }
QPushButton:pressed { background: $pressed; }
QPushButton:focus { border: 1px solid $accent; }
QPushButton:disabled { color: $muted; }
QPushButton:default { background: $accent; color: $on_accent; border: 1px solid $accent; font-weight: 600; }
QPushButton:default:hover { background: $accent_hover; }
QPushButton[role="plain"] { background: transparent; border: 1px solid transparent; text-align: left; }
QPushButton[role="plain"]:hover { background: $hover; }
QPushButton[role="plain"]:focus { border: 1px solid $accent; }
QPushButton[role="wide"] { text-align: left; padding: 9px 12px; font-weight: 500; }
QPushButton[role="quiet"] {
  background: transparent; border: 1px solid transparent; color: $muted;
  font-size: ${small}px; padding: 3px 8px; border-radius: 6px; text-align: left;
}
QPushButton[role="quiet"]:hover { background: $hover; color: $text; }
QPushButton[role="quiet"]:focus { border: 1px solid $accent; }
QPushButton[role="suggestion"] {
  background: transparent; border: 1px solid $line; border-radius: ${radius}px;
  padding: 12px 14px; text-align: left;
}
QPushButton[role="suggestion"]:hover { background: $raised; border: 1px solid $muted; }
QPushButton[role="suggestion"]:focus { border: 1px solid $accent; }

QToolButton { background: transparent; border: 1px solid transparent; border-radius: 7px; padding: 4px; }
QToolButton:hover { background: $hover; }
QToolButton:pressed { background: $pressed; }
QToolButton:focus { border: 1px solid $accent; }
QToolButton[role="send"] { background: $accent; border-radius: 16px; padding: 0; border: 1px solid $accent; }
QToolButton[role="send"]:hover { background: $accent_hover; }
QToolButton[role="send"]:focus { border: 2px solid $text; }
QToolButton[role="send"]:disabled { background: $hover; border: 1px solid $hover; }
QToolButton[role="floating"] {
  background: $raised; border: 1px solid $line; border-radius: 16px; padding: 0;
}
QToolButton[role="floating"]:hover { background: $hover; }

QLineEdit {
  background: $window; border: 1px solid $line; border-radius: ${radius}px; padding: 6px 10px;
}
QLineEdit:focus { border: 1px solid $accent; }
QComboBox {
  background: transparent; border: 1px solid $line; border-radius: ${radius}px; padding: 5px 12px;
  min-height: 20px;
}
QComboBox:hover { background: $raised; }
QComboBox:focus { border: 1px solid $accent; }
QComboBox::drop-down { border: 0; width: 22px; }
QComboBox::down-arrow { image: url("$chevron"); width: 14px; height: 14px; margin-right: 8px; }
QComboBox QAbstractItemView {
  background: $raised; border: 1px solid $line; padding: 4px; outline: 0;
  selection-background-color: $hover; selection-color: $text;
}

QComboBox QAbstractItemView::item { padding: 6px 8px; border: 0; border-radius: 6px; }
QComboBox QAbstractItemView::item:selected { background: $hover; }

QListWidget QLineEdit { background: $window; border: 0; border-radius: 0; padding: 0; }
QListWidget { background: transparent; border: 0; outline: 0; }
QListWidget::item { border-radius: 8px; padding: 8px 10px; margin: 1px 0; color: $text; }
QListWidget::item:hover { background: $raised; }
QListWidget::item:selected { background: $hover; color: $text; }

QScrollArea { background: transparent; border: 0; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 2px; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 2px; }
QScrollBar::handle { background: $line; border-radius: 3px; min-height: 32px; min-width: 32px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QMenu { background: $raised; border: 1px solid $line; padding: 5px; }
QMenu::item { padding: 6px 22px 6px 12px; border-radius: 6px; }
QMenu::item:selected { background: $hover; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $line; margin: 5px 8px; }
QMessageBox, QDialog { background: $window; }
QMessageBox QLabel#qt_msgbox_informativelabel { min-width: 320px; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
""")


def stylesheet(palette: Palette, *, chevron: str) -> str:
    """QSS for `palette`; `chevron` is the path of the arrow image of drop-down fields."""
    return _SHEET.substitute(
        vars(palette),
        display=tokens.TEXT_DISPLAY,
        title=tokens.TEXT_TITLE,
        body=tokens.TEXT_BODY,
        small=tokens.TEXT_SMALL,
        radius=tokens.RADIUS,
        large=tokens.RADIUS_LARGE,
        chevron=chevron,
    )
