"""Markdown prose, set in the app's own typography."""

from PySide6.QtCore import QRectF
from PySide6.QtGui import (
    QColor,
    QFont,
    QPainter,
    QPaintEvent,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)

from app.ui.theme import tokens
from app.ui.theme.theme import Theme, sans
from app.ui.theme.tokens import Palette
from app.ui.widgets.auto_text import AutoText

_PROPORTIONAL = QTextBlockFormat.LineHeightTypes.ProportionalHeight.value
_HEADINGS = {1: 20, 2: 18, 3: 16}
_PARAGRAPH_GAP = 10
_LIST_GAP = 4


class Prose(AutoText):
    """One piece of prose; `show_markdown` may be called again and again while it grows."""

    def __init__(self, *, theme: Theme, muted: bool = False) -> None:
        super().__init__(sans(tokens.TEXT_BODY if not muted else tokens.TEXT_UI))
        self._theme = theme
        self._muted = muted
        self._markdown = ""
        self.document().setIndentWidth(24)
        theme.changed.connect(self._render)

    def show_markdown(self, markdown: str) -> None:
        if markdown != self._markdown:
            self._markdown = markdown
            self._render()

    def _render(self) -> None:
        palette = self._theme.palette
        features = QTextDocument.MarkdownFeature.MarkdownDialectGitHub
        features |= QTextDocument.MarkdownFeature.MarkdownNoHTML
        self.document().setMarkdown(self._markdown, features)
        typeset(self.document(), palette, colour=palette.muted if self._muted else palette.text)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draws the bars beside quotations, which text documents have no format for."""
        painter = QPainter(self.viewport())
        layout = self.document().documentLayout()
        block = self.document().begin()
        while block.isValid():
            if block.blockFormat().intProperty(QTextFormat.Property.BlockQuoteLevel):
                area = layout.blockBoundingRect(block)
                painter.fillRect(QRectF(0, area.top(), 3, area.height()), QColor(self._theme.palette.line))
            block = block.next()
        painter.end()
        super().paintEvent(event)


def typeset(document: QTextDocument, palette: Palette, *, colour: str) -> None:
    """Gives a document made from Markdown its line heights, gaps, heading sizes and colours."""
    everything = QTextCursor(document)
    everything.beginEditBlock()
    everything.select(QTextCursor.SelectionType.Document)
    base = QTextCharFormat()
    base.setForeground(QColor(colour))
    everything.mergeCharFormat(base)
    block = document.begin()
    while block.isValid():
        _typeset_block(document, block, palette)
        block = block.next()
    everything.endEditBlock()


def _typeset_block(document: QTextDocument, block: QTextBlock, palette: Palette) -> None:
    cursor = QTextCursor(block)
    style = block.blockFormat()
    table = _table_of(cursor)
    level = style.headingLevel()
    style.setLineHeight(145 if not level else 125, _PROPORTIONAL)
    if table is not None:
        _typeset_table(table, palette)
        style.setLineHeight(100, _PROPORTIONAL)
        style.setTopMargin(0)
        style.setBottomMargin(0)
    else:
        style.setTopMargin(8 if level and block.blockNumber() else 0)
        style.setBottomMargin(_gap_after(block))
    quoted = style.intProperty(QTextFormat.Property.BlockQuoteLevel)
    if quoted:
        style.setLeftMargin(16 * quoted)
        style.setRightMargin(0)
    if style.hasProperty(QTextFormat.Property.BlockTrailingHorizontalRulerWidth):
        style.setBackground(QColor(palette.line))
    cursor.setBlockFormat(style)
    _typeset_runs(document, block, palette, heading=level, quoted=bool(quoted))


def _table_of(cursor: QTextCursor) -> QTextTable | None:
    return cursor.currentTable()


def _gap_after(block: QTextBlock) -> int:
    following = block.next()
    if not following.isValid():
        return 0
    if block.textList() is not None and following.textList() is not None:
        return _LIST_GAP
    return _PARAGRAPH_GAP


def _typeset_runs(
    document: QTextDocument, block: QTextBlock, palette: Palette, *, heading: int, quoted: bool
) -> None:
    for start, length, given in _runs(block):
        wanted = QTextCharFormat(given)
        if given.fontFixedPitch():
            wanted.setFontFamilies([tokens.MONO])
            wanted.setProperty(QTextFormat.Property.FontPixelSize, tokens.TEXT_CODE)
            wanted.setBackground(QColor(palette.raised))
        if given.isAnchor():
            wanted.setForeground(QColor(palette.link))
            wanted.setFontUnderline(True)
        elif quoted:
            wanted.setForeground(QColor(palette.muted))
        if given.fontWeight() > QFont.Weight.Medium:
            wanted.setFontWeight(QFont.Weight.DemiBold)
        if heading:
            wanted.clearProperty(QTextFormat.Property.FontSizeAdjustment)
            wanted.setProperty(QTextFormat.Property.FontPixelSize, _HEADINGS.get(heading, tokens.TEXT_BODY))
        if wanted != given:
            cursor = QTextCursor(document)
            cursor.setPosition(start)
            cursor.setPosition(start + length, QTextCursor.MoveMode.KeepAnchor)
            cursor.setCharFormat(wanted)


def _runs(block: QTextBlock) -> list[tuple[int, int, QTextCharFormat]]:
    """Position, length and format of each run, gathered before any of them is changed."""
    runs = []
    iterator = block.begin()
    while not iterator.atEnd():
        fragment = iterator.fragment()
        runs.append((fragment.position(), fragment.length(), fragment.charFormat()))
        iterator += 1
    return runs


def _typeset_table(table: QTextTable, palette: Palette) -> None:
    style = table.format()
    if style.cellPadding() == 6:
        return
    style.setCellPadding(6)
    style.setCellSpacing(0)
    style.setBorder(1)
    style.setBorderCollapse(True)
    style.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    style.setBorderBrush(QColor(palette.line))
    style.setBottomMargin(_PARAGRAPH_GAP)
    style.setWidth(QTextLength(QTextLength.Type.VariableLength, 0))
    table.setFormat(style)
