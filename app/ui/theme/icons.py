"""Icons from the SVG files in `resources/icons`, in any colour and at any pixel density."""

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.ui.resources import ICONS

_APP_SIZES = (16, 22, 24, 32, 48, 64, 128, 256)
_SCALES = (1, 2, 3)


class Icons:
    """Draws each icon once: a long chat shows the same few hundreds of times."""

    def __init__(self) -> None:
        self._glyphs: dict[tuple[str, str, str, int], QIcon] = {}
        self._marks: dict[int, QPixmap] = {}

    def glyph(self, name: str, colour: str, size: int = 16, *, disabled: str = "") -> QIcon:
        """The line icon `name` in `colour` (`#rrggbb`), `size` logical pixels wide.

        `disabled` is the colour it has on a disabled button.
        """
        key = (name, colour, disabled, size)
        if key not in self._glyphs:
            icon = QIcon()
            _add(icon, name, colour, size, QIcon.Mode.Normal)
            if disabled:
                _add(icon, name, disabled, size, QIcon.Mode.Disabled)
            self._glyphs[key] = icon
        return self._glyphs[key]

    def mark(self, size: int) -> QPixmap:
        """The app's mark, `size` logical pixels wide, sharp on dense screens."""
        if size not in self._marks:
            self._marks[size] = mark(size * 2)
            self._marks[size].setDevicePixelRatio(2)
        return self._marks[size]


def mark(size: int) -> QPixmap:
    """The app's mark, `size` device pixels wide."""
    return _render((ICONS / "swarmllm.svg").read_bytes(), size)


def app_icon() -> QIcon:
    icon = QIcon()
    for size in _APP_SIZES:
        icon.addPixmap(mark(size))
    return icon


def status_icon(colour: str) -> QIcon:
    """The mark with a dot of `colour` in its lower right corner, for the tray."""
    icon = QIcon()
    for size in _APP_SIZES[:6]:
        icon.addPixmap(_with_dot(mark(size), QColor(colour)))
    return icon


def _add(icon: QIcon, name: str, colour: str, size: int, mode: QIcon.Mode) -> None:
    svg = (ICONS / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    for scale in _SCALES:
        pixmap = _render(svg.encode(), size * scale)
        pixmap.setDevicePixelRatio(scale)
        icon.addPixmap(pixmap, mode)


def _with_dot(pixmap: QPixmap, colour: QColor) -> QPixmap:
    size = pixmap.width()
    dot = size * 0.42
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    rim = QRectF(size - dot, size - dot, dot, dot)
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Clear)
    painter.setBrush(Qt.GlobalColor.black)
    painter.drawEllipse(rim)
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)
    painter.setBrush(colour)
    inset = dot * 0.14
    painter.drawEllipse(rim.adjusted(inset, inset, -inset, -inset))
    painter.end()
    return pixmap


def _render(svg: bytes, size: int) -> QPixmap:
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    QSvgRenderer(QByteArray(svg)).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap
