"""The confusion matrix as a picture to click: rows are the truth, columns what the mask says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

__all__ = ["ConfusionPicture", "cell_sentence"]

_MOST_CELL, _LABELS = 34, 74


def cell_sentence(counts: NDArray[np.int64], names: Sequence[str], row: int, column: int) -> str:
    """Return one cell in words: how much of a class of the truth was given to which class."""
    total = int(counts[row].sum())
    pixels = int(counts[row, column])
    share = f"{100 * pixels / total:.1f} % of {names[row]}" if total else f"{names[row]} is not in the truth"
    if row == column:
        return f"{names[row]} found: {pixels:,} px, {share}."
    return f"{names[row]} taken for {names[column]}: {pixels:,} px, {share}."


class ConfusionPicture(QWidget):
    """Cells coloured by their share of the row; a click or the arrow keys choose one.

    Emits `picked(row, column)`.
    """

    picked = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.counts: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self.names: tuple[str, ...] = ()
        self._chosen: tuple[int, int] | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Confusion matrix")

    @property
    def chosen(self) -> tuple[int, int] | None:
        """(row, column) of the chosen cell."""
        return self._chosen

    def show_counts(self, counts: Any, names: Sequence[str]) -> None:
        """Show [n, n] pixels, rows truth, columns prediction, with the names of both."""
        self.counts = np.asarray(counts, np.int64).reshape(len(names), len(names))
        self.names = tuple(names)
        self._chosen = None
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, int(self._cell() * len(self.names)) + 20)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self.updateGeometry()

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Return where a cell lies, in widget px."""
        side = self._cell()
        return QRectF(_LABELS + column * side, 18 + row * side, side, side)

    def _cell(self) -> float:
        return float(min(_MOST_CELL, (self.width() - _LABELS - 4) / max(len(self.names), 1)))

    def _at(self, where: QPointF) -> tuple[int, int] | None:
        side = self._cell()
        row, column = int((where.y() - 18) // side), int((where.x() - _LABELS) // side)
        inside = 0 <= row < len(self.names) and 0 <= column < len(self.names)
        return (row, column) if inside else None

    def _choose(self, cell: tuple[int, int] | None) -> None:
        if cell is not None:
            self._chosen = cell
            self.setAccessibleDescription(cell_sentence(self.counts, self.names, *cell))
            self.update()
            self.picked.emit(*cell)

    def mousePressEvent(self, event: Any) -> None:
        self._choose(self._at(QPointF(event.pos())))

    def keyPressEvent(self, event: Any) -> None:
        steps = {
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
        }
        if event.key() not in steps or not self.names:
            super().keyPressEvent(event)
            return
        row, column = self._chosen or (0, 0)
        by = steps[event.key()] if self._chosen is not None else (0, 0)
        last = len(self.names) - 1
        self._choose((min(max(row + by[0], 0), last), min(max(column + by[1], 0), last)))

    def event(self, event: Any) -> bool:
        if isinstance(event, QHelpEvent):
            cell = self._at(QPointF(event.pos()))
            text = cell_sentence(self.counts, self.names, *cell) if cell else "Rows: truth. Columns: mask."
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return bool(super().event(event))

    def paintEvent(self, event: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = QColor(self.palette().color(self.foregroundRole()))
        font = self.font()
        font.setPointSizeF(max(font.pointSizeF() * 0.85, 7.5))
        painter.setFont(font)
        painter.setPen(ink)
        painter.drawText(QRectF(_LABELS, 0, self.width() - _LABELS, 16), Qt.AlignmentFlag.AlignLeft, "mask →")
        painter.drawText(QRectF(0, 0, _LABELS - 4, 16), Qt.AlignmentFlag.AlignRight, "truth ↓")
        totals = self.counts.sum(1, keepdims=True)
        shares = self.counts / np.maximum(totals, 1)
        side = self._cell()
        metrics = painter.fontMetrics()
        for row, name in enumerate(self.names):
            box = self.cell_rect(row, 0)
            room = QRectF(0, box.top(), _LABELS - 4, side)
            if side >= 11:
                text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, _LABELS - 6)
                painter.setPen(ink)
                painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, text)
            for column in range(len(self.names)):
                self._paint_cell(painter, row, column, float(shares[row, column]), side, ink)
        if self._chosen is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(ink, 2))
            painter.drawRect(self.cell_rect(*self._chosen))

    def _paint_cell(
        self, painter: QPainter, row: int, column: int, share: float, side: float, ink: QColor
    ) -> None:
        # Right is blue and wrong is orange, which no eye confuses; the share is the strength.
        shade = QColor("#0072B2" if row == column else "#D55E00")
        shade.setAlphaF(min(1.0, 0.06 + 0.94 * share**0.5))
        box = self.cell_rect(row, column).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.fillRect(box, shade)
        if side >= 26 and share >= 0.005:
            painter.setPen(QColor("#FFFFFF") if share > 0.3 else ink)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{100 * share:.0f}")
