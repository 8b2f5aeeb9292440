"""A lasso over a plot: drawn by dragging, it tells which area it went round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QPolygonF

__all__ = ["LassoBox", "inside"]

# Shorter ways are a click that slipped.
_LEAST = 3


class LassoBox(pg.ViewBox):
    """Draws a line while the left button is dragged with Shift, or without while `on`; else it is panned as ever.

    Attributes:
        on: Whether a drag without Shift draws too.

    Signals:
        lassoed: (corners, [N, 2] float64 in the plot's units) the button was let go.
    """

    lassoed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self._way: list[tuple[float, float]] | None = None
        self.outline = pg.PlotCurveItem()
        self.outline.setZValue(20)
        self.addItem(self.outline, ignoreBounds=True)

    def mouseDragEvent(self, ev: Any, axis: int | None = None) -> None:
        """Draw the lasso, or pan."""
        shift = bool(ev.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if ev.isStart() and ev.button() == Qt.MouseButton.LeftButton and (self.on or shift):
            begun = self.mapToView(ev.buttonDownPos())
            self._way = [(begun.x(), begun.y())]
        if self._way is None:
            super().mouseDragEvent(ev, axis)
            return
        ev.accept()
        here = self.mapToView(ev.pos())
        self._way.append((here.x(), here.y()))
        corners = np.array(self._way)
        closed = np.concatenate([corners, corners[:1]])
        self.outline.setData(closed[:, 0], closed[:, 1])
        if ev.isFinish():
            self._way = None
            if len(corners) >= _LEAST:
                self.lassoed.emit(corners)

    def clear_outline(self) -> None:
        """Take the line away."""
        self._way = None
        self.outline.setData([], [])


def inside(points: NDArray[Any], corners: NDArray[Any]) -> list[int]:
    """Return which of some points [M, 2] lie inside of the closed line through corners [N, 2].

    Where it crosses itself, what it goes round an even number of times is outside.
    """
    area = QPolygonF([QPointF(float(x), float(y)) for x, y in corners])
    even = Qt.FillRule.OddEvenFill
    return [n for n, (x, y) in enumerate(points) if area.containsPoint(QPointF(float(x), float(y)), even)]
