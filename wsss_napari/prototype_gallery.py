"""A row of source crops: prototypes with their bars, or rows of the bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QToolTip, QWidget

from wsss_napari.thumbnails import Thumbnails

__all__ = ["PICTURE", "Cell", "Gallery", "crop_of", "paint_picture"]

PICTURE = 64
_PAD, _BAR, _GAP = 4, 5, 2
_WIDE = PICTURE + 2 * _PAD
# The share of a picture's shorter side that a crop around the seed's centre shows.
_SHARE = 0.6


@dataclass(frozen=True)
class Cell:
    """One picture of the row.

    Attributes:
        key: Number of the prototype or of the row.
        stem: Image that the crop is cut from, or None when the project has it no more.
        centre: (y, x) of the seed's centre, as shares of the sides.
        text: Under the picture.
        tip: Tooltip.
        bars: Shares in [0, 1], each with the name of its colour in `Gallery.shades`.
        off: Takes no part: drawn faint and struck out.
        pinned: Marked in the corner.
    """

    key: int
    stem: str | None
    centre: tuple[float, float]
    text: str
    tip: str
    bars: tuple[tuple[float, str], ...] = ()
    off: bool = False
    pinned: bool = False


def crop_of(size: tuple[int, int], centre: tuple[float, float]) -> tuple[int, int, int]:
    """Return left, top and side in px of the square that is cut around a seed, all inside of the picture.

    Args:
        size: (width, height) of the picture in px.
        centre: (y, x) as shares of its sides.
    """
    width, height = size
    side = max(1, round(min(width, height) * _SHARE))
    left = min(max(round(centre[1] * width - side / 2), 0), width - side)
    top = min(max(round(centre[0] * height - side / 2), 0), height - side)
    return left, top, side


def paint_picture(
    painter: QPainter, box: QRect, cell: Cell, thumbnails: Thumbnails, theme: Mapping[str, str]
) -> None:
    """Paint the crop of a cell into a box: faint and struck out when it is off, with a dot when it is pinned."""
    picture: QPixmap | None = None if cell.stem is None else thumbnails.get(cell.stem)
    painter.setOpacity(0.3 if cell.off else 1.0)
    if picture is None:
        painter.fillRect(box, QColor(theme["foreground"]))
    else:
        left, top, side = crop_of((picture.width(), picture.height()), cell.centre)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(box, picture, QRect(left, top, side, side))
    painter.setOpacity(1.0)
    if cell.off:
        painter.setPen(QPen(QColor("#D55E00"), 2))
        painter.drawLine(box.topLeft(), box.bottomRight())
    if cell.pinned:
        painter.setPen(QPen(QColor("#000000"), 1))
        painter.setBrush(QColor("#F0E442"))
        painter.drawEllipse(box.left() + 3, box.top() + 3, 9, 9)
        painter.setBrush(Qt.BrushStyle.NoBrush)


class Gallery(QScrollArea):
    """The row in a frame that scrolls sideways.

    Signals:
        hovered: (key) the pointer is over this cell, or -1.
        picked: (key) its picture was clicked, or Space was pressed on it.
        opened: (key) the words under it were clicked, or Enter was pressed on it.
        menu_asked: (key, where on the screen) right click.
    """

    hovered = Signal(int)
    picked = Signal(int)
    opened = Signal(int)
    menu_asked = Signal(int, object)

    def __init__(
        self, name: str, thumbnails: Thumbnails, *, bars: int = 0, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.row = _Row(self, thumbnails, bars)
        self.row.setAccessibleName(name)
        self.setWidget(self.row)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(self.row.height() + self.horizontalScrollBar().sizeHint().height())
        thumbnails.arrived.connect(self._arrived)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What is shown, left to right."""
        return self.row.cells

    def show_cells(self, cells: Sequence[Cell], chosen: int | None = None) -> None:
        """Show other cells; `chosen` is the key of the one that is ringed."""
        self.row.cells, self.row.chosen = tuple(cells), chosen
        wide = max(1, len(cells)) * _WIDE
        if self.row.width() != wide:
            self.row.resize(wide, self.row.height())
        self.row.update()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self.row.theme = dict(colours)
        self.row.update()

    def _arrived(self, stem: str) -> None:
        if any(cell.stem == stem for cell in self.cells):
            self.row.update()


class _Row(QWidget):
    """Paints the cells and hears the pointer; no widget a cell."""

    #: Name -> colour of bars; no class has them.
    shades = {"weight": "#E69F00", "similar": "#56B4E9"}

    def __init__(self, gallery: Gallery, thumbnails: Thumbnails, bars: int) -> None:
        super().__init__()
        self.cells: tuple[Cell, ...] = ()
        self.chosen: int | None = None
        self.theme: dict[str, str] = {"text": "#f0f1f2", "foreground": "#414851"}
        self._gallery = gallery
        self._thumbnails = thumbnails
        self._bars = bars
        self._at = -1
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.resize(
            _WIDE, _PAD + PICTURE + bars * (_BAR + _GAP) + self.fontMetrics().height() + 2 * _GAP + _PAD
        )

    def sizeHint(self) -> QSize:
        return self.size()

    def rect_of(self, at: int) -> QRect:
        """Return the picture's place of the cell at a position."""
        return QRect(at * _WIDE + _PAD, _PAD, PICTURE, PICTURE)

    def words_of(self, at: int) -> QRect:
        """Return the place of the words under it."""
        top = _PAD + PICTURE + self._bars * (_BAR + _GAP) + _GAP
        return QRect(at * _WIDE, top, _WIDE, self.height() - top)

    def paintEvent(self, event: Any) -> None:
        """Paint the cells that are in sight."""
        painter = QPainter(self)
        first, last = event.rect().left() // _WIDE, event.rect().right() // _WIDE
        for at in range(max(first, 0), min(last + 1, len(self.cells))):
            self._paint(painter, at, self.cells[at])
        painter.end()

    def mouseMoveEvent(self, event: Any) -> None:
        """Tell which cell the pointer is over."""
        self._point(self._find(event.pos()))

    def leaveEvent(self, event: Any) -> None:
        """Tell that it is over none."""
        self._point(-1)

    def mousePressEvent(self, event: Any) -> None:
        """Tell that a picture, or the words under it, were clicked."""
        at = self._find(event.pos())
        if event.button() != Qt.MouseButton.LeftButton or at < 0:
            super().mousePressEvent(event)
            return
        key = self.cells[at].key
        if event.pos().y() >= self.words_of(at).top():
            self._gallery.opened.emit(key)
        else:
            self._gallery.picked.emit(key)

    def contextMenuEvent(self, event: Any) -> None:
        """Tell that a menu is wanted."""
        at = self._find(event.pos()) if event.reason() == event.Reason.Mouse else self._at
        if 0 <= at < len(self.cells):
            self._gallery.menu_asked.emit(self.cells[at].key, self.mapToGlobal(self.rect_of(at).center()))

    def keyPressEvent(self, event: Any) -> None:
        """Up and Down go along the row, Space and Enter act; the arrows aside are the stages'."""
        by = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(event.key())
        if by is not None and self.cells:
            self._point(min(max(self._at + by, 0), len(self.cells) - 1))
            self._gallery.ensureVisible(self.rect_of(self._at).center().x(), 0, _WIDE, 0)
        elif event.key() == Qt.Key.Key_Space and 0 <= self._at < len(self.cells):
            self._gallery.picked.emit(self.cells[self._at].key)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and 0 <= self._at < len(self.cells):
            self._gallery.opened.emit(self.cells[self._at].key)
        else:
            super().keyPressEvent(event)

    def event(self, event: Any) -> bool:
        """Show the tooltip of the cell under the pointer."""
        if event.type() == QEvent.Type.ToolTip:
            at = self._find(event.pos())
            if at < 0:
                QToolTip.hideText()
            else:
                QToolTip.showText(event.globalPos(), self.cells[at].tip, self)
            return True
        return bool(super().event(event))

    def _find(self, where: QPoint) -> int:
        at = where.x() // _WIDE
        return int(at) if 0 <= at < len(self.cells) and 0 <= where.y() < self.height() else -1

    def _point(self, at: int) -> None:
        if at != self._at:
            self._at = at
            self.setAccessibleDescription(self.cells[at].tip if 0 <= at < len(self.cells) else "")
            self._gallery.hovered.emit(self.cells[at].key if 0 <= at < len(self.cells) else -1)
            self.update()

    def _paint(self, painter: QPainter, at: int, cell: Cell) -> None:
        box, ink = self.rect_of(at), QColor(self.theme["text"])
        paint_picture(painter, box, cell, self._thumbnails, self.theme)
        painter.setOpacity(0.3 if cell.off else 1.0)
        for n, (share, name) in enumerate(cell.bars):
            top = box.bottom() + 1 + _GAP + n * (_BAR + _GAP)
            painter.fillRect(QRect(box.left(), top, PICTURE, _BAR), QColor(self.theme["foreground"]))
            if share > 0:
                painter.fillRect(
                    QRectF(box.left(), top, PICTURE * min(share, 1.0), _BAR), QColor(self.shades[name])
                )
        painter.setPen(ink)
        words = painter.fontMetrics().elidedText(cell.text, Qt.TextElideMode.ElideRight, _WIDE - 2)
        painter.drawText(self.words_of(at), Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, words)
        painter.setOpacity(1.0)
        if cell.key == self.chosen or at == self._at:
            painter.setPen(QPen(ink, 2 if cell.key == self.chosen else 1))
            painter.drawRect(box.adjusted(0, 0, -1, -1))
