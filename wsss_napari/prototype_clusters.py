"""What the prototypes of a class stand for: a line of source crops for each, the largest cluster first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QToolTip, QWidget

from wsss_napari.prototype_gallery import Cell, paint_picture
from wsss_napari.thumbnails import Thumbnails

__all__ = ["CROP", "ClusterGrid", "ClusterLine"]

CROP = 44
_GAP, _BAR = 4, 4
_HEIGHT = 330


@dataclass(frozen=True)
class ClusterLine:
    """One prototype with the rows of its cluster.

    Attributes:
        prototype: Its number in the class.
        words: Over the crops.
        tip: Tooltip of the words.
        cells: Its rows, likest first.
        share: Rows of it over those of the largest cluster, in [0, 1].
        off: Takes no part: its words are faint.
    """

    prototype: int
    words: str
    tip: str
    cells: tuple[Cell, ...]
    share: float
    off: bool = False


class ClusterGrid(QScrollArea):
    """The lines under each other in a frame that scrolls; only what is in sight is painted.

    Signals:
        opened: (prototype) the words over a line were clicked, or Enter was pressed on it.
        row_picked: (row, where on the screen) a crop was clicked.
    """

    opened = Signal(int)
    row_picked = Signal(int, object)

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sheet = _Sheet(self, thumbnails)
        self.setWidget(self.sheet)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        thumbnails.arrived.connect(self._arrived)
        self.show_lines((), "#888888", None)

    @property
    def lines(self) -> tuple[ClusterLine, ...]:
        """What is shown, from the top."""
        return self.sheet.lines

    def show_lines(self, lines: Sequence[ClusterLine], colour: str, chosen: int | None) -> None:
        """Show other lines; `colour` is `#RRGGBB` of the class, `chosen` the prototype that is marked."""
        sheet = self.sheet
        sheet.lines, sheet.colour, sheet.chosen = tuple(lines), colour, chosen
        sheet.setMinimumHeight(len(lines) * sheet.pitch)
        # As high as its lines, until they need to scroll.
        self.setFixedHeight(min(_HEIGHT, max(len(lines) * sheet.pitch, 1)))
        sheet.update()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self.sheet.theme = dict(colours)
        self.sheet.update()

    def _arrived(self, stem: str) -> None:
        if self.isVisible() and any(cell.stem == stem for line in self.lines for cell in line.cells):
            self.sheet.update()


class _Sheet(QWidget):
    """Paints the lines and hears the pointer; no widget a crop."""

    def __init__(self, grid: ClusterGrid, thumbnails: Thumbnails) -> None:
        super().__init__()
        self.lines: tuple[ClusterLine, ...] = ()
        self.colour = "#888888"
        self.chosen: int | None = None
        self.theme: dict[str, str] = {"text": "#f0f1f2", "foreground": "#414851"}
        self._grid = grid
        self._thumbnails = thumbnails
        self._at = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Clusters of the bank")

    @property
    def pitch(self) -> int:
        """Height of a line in px."""
        return self.fontMetrics().height() + _BAR + CROP + 4 * _GAP

    @property
    def room(self) -> int:
        """How many crops a line has room for."""
        return max(1, (self.width() + _GAP) // (CROP + _GAP))

    def words_of(self, at: int) -> QRect:
        """Return the place of the words over a line."""
        return QRect(0, at * self.pitch, self.width(), self.fontMetrics().height() + _BAR + _GAP)

    def rect_of(self, at: int, place: int) -> QRect:
        """Return the place of a crop of a line."""
        top = self.words_of(at).bottom() + 1 + _GAP
        return QRect(place * (CROP + _GAP), top, CROP, CROP)

    def sizeHint(self) -> QSize:
        return QSize(320, len(self.lines) * self.pitch)

    def paintEvent(self, event: Any) -> None:
        """Paint the lines that are in sight."""
        painter = QPainter(self)
        first, last = event.rect().top() // self.pitch, event.rect().bottom() // self.pitch
        for at in range(max(first, 0), min(last + 1, len(self.lines))):
            self._paint(painter, at, self.lines[at])
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Tell which line, or which crop of it, was clicked."""
        at, place = self._find(event.pos())
        if event.button() != Qt.MouseButton.LeftButton or at < 0:
            super().mousePressEvent(event)
            return
        self._at = at
        if place >= 0:
            self._grid.row_picked.emit(self.lines[at].cells[place].key, event.globalPos())
        else:
            self._grid.opened.emit(self.lines[at].prototype)

    def keyPressEvent(self, event: Any) -> None:
        """Up and Down go along the lines, Enter opens one."""
        by = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(event.key())
        if by is not None and self.lines:
            self._at = min(max(self._at + by, 0), len(self.lines) - 1)
            self._grid.ensureVisible(0, self.words_of(self._at).center().y(), 0, self.pitch)
            self.setAccessibleDescription(self.lines[self._at].words)
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._at < len(self.lines):
            self._grid.opened.emit(self.lines[self._at].prototype)
        else:
            super().keyPressEvent(event)

    def event(self, event: Any) -> bool:
        """Show the tooltip of the words or the crop under the pointer."""
        if event.type() == QEvent.Type.ToolTip:
            at, place = self._find(event.pos())
            if at < 0:
                QToolTip.hideText()
            else:
                line = self.lines[at]
                QToolTip.showText(event.globalPos(), line.tip if place < 0 else line.cells[place].tip, self)
            return True
        return bool(super().event(event))

    def _find(self, where: QPoint) -> tuple[int, int]:
        """Return the line under the pointer and its crop there, -1 for none."""
        at = where.y() // self.pitch
        if not 0 <= at < len(self.lines):
            return -1, -1
        for place in range(min(self.room, len(self.lines[at].cells))):
            if self.rect_of(at, place).contains(where):
                return at, place
        return at, -1

    def _paint(self, painter: QPainter, at: int, line: ClusterLine) -> None:
        ink, words = QColor(self.theme["text"]), self.words_of(at)
        painter.setOpacity(0.45 if line.off else 1.0)
        painter.setPen(ink)
        font = painter.font()
        font.setBold(line.prototype == self.chosen)
        painter.setFont(font)
        left = len(line.cells) - self.room
        more = f"+{left}" if left > 0 else ""
        wide = painter.fontMetrics().horizontalAdvance(more)
        text = painter.fontMetrics().elidedText(
            line.words, Qt.TextElideMode.ElideRight, max(words.width() - wide - 8, 1)
        )
        top = Qt.AlignmentFlag.AlignTop
        painter.drawText(words, Qt.AlignmentFlag.AlignLeft | top, text)
        painter.drawText(words, Qt.AlignmentFlag.AlignRight | top, more)
        bar = QRectF(0, words.bottom() - _BAR, words.width(), _BAR)
        painter.fillRect(bar, QColor(self.theme["foreground"]))
        bar.setWidth(bar.width() * line.share)
        painter.fillRect(bar, QColor(self.colour))
        painter.setOpacity(1.0)
        for place, cell in enumerate(line.cells[: self.room]):
            paint_picture(painter, self.rect_of(at, place), cell, self._thumbnails, self.theme)
        if self.hasFocus() and at == self._at:
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(words.adjusted(0, 0, -1, 0))
