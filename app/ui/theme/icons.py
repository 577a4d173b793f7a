"""Icons from the SVG files in `resources/icons`, in any colour and at any pixel density."""

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.ui.resources import ICONS

_APP_SIZES = (16, 22, 24, 32, 48, 64, 128, 256)
_SCALES = (1, 2, 3)


def glyph(name: str, colour: str, size: int = 18) -> QIcon:
    """The line icon `name`, drawn in `colour` (`#rrggbb`), `size` logical pixels wide."""
    icon = QIcon()
    svg = (ICONS / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    for scale in _SCALES:
        pixmap = _render(svg.encode(), size * scale)
        pixmap.setDevicePixelRatio(scale)
        icon.addPixmap(pixmap)
    return icon


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
