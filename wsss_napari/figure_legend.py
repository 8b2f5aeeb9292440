"""The legend of a figure: beside the axes, so that it never lies over a curve, and as long as its room."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from pyqtgraph.graphicsItems.LegendItem import ItemSample
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QFont, QFontMetricsF
from qtpy.QtWidgets import QApplication

__all__ = ["Legend", "small_font"]

_ROW = 21.0
_SAMPLE = 20.0
_SPACE = 14.0


class Legend(pg.LegendItem):
    """Names of series with a sample of each; a click on a sample hides its series.

    Args:
        entries: (plot items of one series, its name).
        ink: Colour of the text.
    """

    def __init__(self, entries: Sequence[tuple[Sequence[Any], str]], ink: str) -> None:
        super().__init__(
            frame=False, labelTextColor=ink, labelTextSize="8pt", verSpacing=0, sampleType=_Sample
        )
        # It would keep its size when a picture of more dots is drawn.
        self.setFlag(self.GraphicsItemFlag.ItemIgnoresTransformations, False)
        self.layout.setContentsMargins(6, 0, 0, 0)
        self._entries = list(entries)
        self._metrics = QFontMetricsF(small_font())

    def fit(self, most: float, height: float) -> float:
        """Show the names that have room in `most` px across and `height` px down; return the px across it takes."""
        longest = max(self._metrics.horizontalAdvance(name) for _, name in self._entries)
        wide = min(longest + _SAMPLE + _SPACE, max(most, 60.0))
        rows = max(1, int(height // _ROW))
        columns = max(1, min(math.ceil(len(self._entries) / rows), int(most // wide)))
        room = rows * columns
        shown = self._entries if len(self._entries) <= room else self._entries[: max(1, room - 1)]
        self.clear()
        self.setColumnCount(columns)
        for items, name in shown:
            # In the middle: names often begin alike and differ at their end.
            text = self._metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, wide - _SAMPLE - 8)
            self.addItem(_Sample(items[0], items[1:]), html.escape(text))
            self.items[-1][1].setToolTip(html.escape(name))
        if len(shown) < len(self._entries):
            self.addItem(pg.PlotDataItem(pen=None), f"and {len(self._entries) - len(shown)} more")
        # Else its rows would spread over all the height that there is.
        self.setFixedHeight(_ROW * math.ceil(self.layout.count() / 2 / columns))
        self.setFixedWidth(wide * columns + 6)
        return wide * columns + 6

    def updateSize(self) -> None:
        """Leave place and size to the layout; the base would move it into the corner."""
        self.updateGeometry()


class _Sample(ItemSample):
    """A sample of a series, which may be drawn in several panels at once."""

    def __init__(self, item: Any, others: Sequence[Any] = ()) -> None:
        super().__init__(item)
        self._others = others
        self.setFixedHeight(_ROW)
        self.setToolTip("Click to hide or show")

    def paint(self, p: Any, *args: Any) -> None:
        opts = self.item.opts
        if opts.get("stepMode") and self.item.isVisible():
            p.setPen(pg.mkPen(opts["pen"]))
            p.setBrush(pg.mkBrush(opts["fillBrush"]))
            p.drawRect(QRectF(3, 5, 14, 10))
        elif isinstance(self.item, pg.BarGraphItem) and self.item.isVisible():
            p.setPen(pg.mkPen(opts["pen"]))
            p.setBrush(pg.mkBrush(opts["brush"]))
            p.drawRect(QRectF(4, 4, 12, 12))
        elif isinstance(self.item, pg.PlotDataItem) and self.item.isVisible():
            p.setRenderHint(p.RenderHint.Antialiasing)
            p.setPen(pg.mkPen(opts["pen"]))
            p.drawLine(0, 10, 20, 10)
        else:
            super().paint(p, *args)

    def mouseClickEvent(self, event: Any) -> None:
        super().mouseClickEvent(event)
        for item in self._others:
            item.setVisible(self.item.isVisible())


def small_font() -> QFont:
    """Return the font of ticks, names and words in a plot."""
    font = QFont(QApplication.font())
    font.setPointSizeF(8.0)
    return font
