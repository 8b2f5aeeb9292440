"""One panel of a study's figure as a pyqtgraph plot: curves, bars, points, a colour map or a histogram."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF

from engine.results import Panel, Series
from wsss_napari.curves import readable, veil
from wsss_napari.figure_legend import small_font
from wsss_napari.figure_scale import Columns, XScale, read_cell, read_point

__all__ = ["DASHES", "PICTURE_AROUND", "Entry", "Look", "PanelPlot", "picture_ratio"]

DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
)
_REACH = 14.0  # px between the pointer and a point that still is meant
_FEW = 16  # so few numbers on a curve are marked one by one
_LONGEST = 96.0  # px of a category's name
_AROUND = (70.0, 88.0)  # px that axes, labels and title take from a panel, across and down
PICTURE_AROUND = (_AROUND[0] + 89.0, _AROUND[1])  # with a colour bar and its numbers
_ABOVE_LAYER = 50


@dataclass(frozen=True)
class Look:
    """How a series is drawn: its `#RRGGBB`, and which of `DASHES` tells it from another of that colour."""

    colour: str
    dash: int = 0


@dataclass(frozen=True)
class Entry:
    """A series in a legend."""

    item: Any
    name: str
    look: Look


class _Categories(pg.AxisItem):
    """An x axis with a name at each whole number; upright where they would overlap, and thinned out then."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("bottom")
        self._names = names
        self._upright = False
        self._room = _LONGEST
        self._font = small_font()
        self._metrics = QFontMetricsF(self._font)
        self.setStyle(tickLength=0)

    def fit(self, width: float, most: float) -> None:
        """Choose how the names stand when the axis is so many px wide and may be `most` px tall."""
        longest = max((self._metrics.horizontalAdvance(n) for n in self._names), default=0.0)
        self._upright = longest + 8 > width / max(1, len(self._names))
        self._room = min(longest + 2, _LONGEST, most) if self._upright else _LONGEST
        room = self._room if self._upright else self._metrics.height()
        label = self.label.boundingRect().height() * 0.8 if self.label.isVisible() else 0.0
        self.setHeight(room + 8 + label)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        return []

    def drawPicture(self, p: Any, axisSpec: Any, tickSpecs: Any, textSpecs: Any) -> None:
        super().drawPicture(p, axisSpec, [], [])
        low, high = self.range
        across = self.size().width() / max(high - low, 1e-9)  # px a category
        tall = self._metrics.height()
        step = max(1, math.ceil(tall / across)) if self._upright else 1
        p.setFont(self._font)
        p.setPen(self.textPen())
        p.setClipping(False)
        for i, name in enumerate(self._names):
            if i % step or not low <= i <= high:
                continue
            text = self._metrics.elidedText(name, Qt.TextElideMode.ElideRight, self._room)
            p.save()
            p.translate((i - low) * across, 5)
            if self._upright:
                p.rotate(-90)
                box = QRectF(-self._room, -tall / 2, self._room, tall)
                p.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)
            else:
                p.drawText(QRectF(-200, 0, 400, tall), int(Qt.AlignmentFlag.AlignHCenter), text)
            p.restore()


class PanelPlot:
    """Draws one panel and says what is under the pointer.

    Args:
        panel: What to draw.
        looks: One for each series.
        theme: Colours of a napari theme.
        weight: How many times as thick lines are drawn.

    Attributes:
        plot: What goes into a layout.
        entries: What a legend tells of each series that has a name.
    """

    def __init__(
        self, panel: Panel, looks: Sequence[Look], theme: Mapping[str, str], weight: float = 1.0
    ) -> None:
        self.panel = panel
        self.scale = XScale(panel)
        self._columns = Columns(panel, self.scale)
        self._clouds: list[tuple[Series, Any, Any]] = []
        self._looks = looks
        self._weight = weight
        self._metrics = QFontMetricsF(small_font())
        self._theme = theme
        axes = {"bottom": _Categories(panel.categories)} if panel.categories else None
        self.plot = pg.PlotItem(axisItems=axes)
        self.bar: pg.ColorBarItem | None = None
        self.entries: list[Entry] = []
        self._ratio: float | None = None
        self._dress()
        {
            "lines": self._draw_lines,
            "bars": self._draw_bars,
            "points": self._draw_points,
            "grid": self._draw_grid,
            "histogram": self._draw_histogram,
        }[panel.kind]()
        self._draw_marks()
        self._cursor = pg.InfiniteLine(angle=90, pen=pg.mkPen(theme["text"], style=Qt.PenStyle.DotLine))
        self._word = pg.TextItem("", color=theme["text"], fill=veil(theme), anchor=(0, 1))
        for item in (self._cursor, self._word):
            item.setVisible(False)
            item.setZValue(_ABOVE_LAYER)
            self.plot.addItem(item, ignoreBounds=True)

    def fit(self, width: float, height: float) -> None:
        """Arrange names and labels for a panel of so many px."""
        across, down = width - _AROUND[0], height - _AROUND[1]
        axis = self.plot.getAxis("bottom")
        if isinstance(axis, _Categories):
            axis.fit(across, height * 0.3)
            down -= axis.height() - 30
        if self._ratio is not None:
            # The axes keep to the picture instead of standing far from it.
            beside = PICTURE_AROUND[0] - 14
            room = min(max(down, 40.0) * self._ratio + beside, width - 14)
            self.plot.setMinimumWidth(room)
            self.plot.setMaximumWidth(room)
            self.plot.setMaximumHeight(max((room - beside) / self._ratio, 40.0) + _AROUND[1])
        if self.panel.title:
            # A title asks for all its width, and would push its neighbour out of sight.
            text = self._metrics.elidedText(
                self.panel.title, Qt.TextElideMode.ElideRight, max(across - 12, 40.0)
            )
            self.plot.setTitle(html.escape(text), color=self._theme["text"], size="8.5pt")
        for side, words, room in (("left", self.panel.y_label, down), ("bottom", self.panel.x_label, across)):
            if words:
                text = self._metrics.elidedText(words, Qt.TextElideMode.ElideRight, max(room, 40.0))
                style = {"color": self._theme["text"], "font-size": "8pt"}
                self.plot.getAxis(side).setLabel(html.escape(text), **style)

    def read(self, where: QPointF) -> str:
        """Show what is at a place of the scene, and return it as a sentence; empty when it is outside."""
        box = self.plot.vb
        self.forget()
        if not box.sceneBoundingRect().contains(where):
            return ""
        at = box.mapSceneToView(where)
        if self.panel.kind == "grid":
            return read_cell(self.panel, at.x(), at.y())
        if self.panel.kind == "points":
            return self._read_nearest(at)
        found = self._columns.read(at.x())
        if found is None:
            return ""
        place, text = found
        self._cursor.setValue(place)
        self._cursor.setVisible(True)
        return text

    def forget(self) -> None:
        """Take the cursor and the word away."""
        self._cursor.setVisible(False)
        self._word.setVisible(False)

    def _read_nearest(self, at: QPointF) -> str:
        wide, tall = self.plot.vb.viewPixelSize()
        best, found = _REACH, None
        for series, xs, ys in self._clouds:
            if not len(xs):
                continue
            away = np.hypot((xs - at.x()) / wide, (ys - at.y()) / tall)  # [points] px
            i = int(away.argmin())
            if away[i] < best:
                best, found = float(away[i]), (series, i, float(xs[i]), float(ys[i]))
        if found is None:
            return ""
        series, i, x, y = found
        text = read_point(series, i)
        self._word.setText(series.labels[i] if i < len(series.labels) else text)
        (left, right), (bottom, top) = self.plot.vb.viewRange()
        # On the side where there is room.
        self._word.setAnchor((x > (left + right) / 2, y < (bottom + top) / 2))
        self._word.setPos(x, y)
        self._word.setVisible(True)
        return text

    def _dress(self) -> None:
        """Paint axes, title and labels in the colours of the theme."""
        plot, panel, text = self.plot, self.panel, self._theme["text"]
        grid = panel.kind != "grid"
        plot.showGrid(x=grid and not panel.categories, y=grid, alpha=0.2)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        for side in ("left", "bottom"):
            axis = plot.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
            axis.enableAutoSIPrefix(False)  # "(x0.001)" under a plot of ratios helps nobody
            axis.setTickFont(small_font())
            if not grid:
                axis.setStyle(maxTickLevel=0)
        if (ticks := self.scale.ticks()) is not None:
            plot.getAxis("bottom").setTicks([ticks])

    def _draw_lines(self) -> None:
        for series, look in zip(self.panel.series, self._looks, strict=True):
            pen, shade = self._pen(look)
            few = len(series.x) <= _FEW
            item = self.plot.plot(
                self.scale.places(series.x),
                series.y,
                pen=pen,
                symbol="o" if few else None,
                symbolSize=5,
                symbolBrush=shade,
                symbolPen=None,
                antialias=True,
            )
            self._note(item, series, look)

    def _draw_histogram(self) -> None:
        for series, look in zip(self.panel.series, self._looks, strict=True):
            pen, shade = self._pen(look)
            fill = QColor(shade)
            fill.setAlphaF(0.3)
            places = self.scale.places(series.x)
            item = self.plot.plot(places, series.y, stepMode="center", fillLevel=0, brush=fill, pen=pen)
            self._note(item, series, look)

    def _draw_bars(self) -> None:
        count = max(1, len(self.panel.series))
        wide = 0.8 / count
        for at, (series, look) in enumerate(zip(self.panel.series, self._looks, strict=True)):
            shade = readable(look.colour, self._theme)
            shift = (at - (count - 1) / 2) * wide
            item = pg.BarGraphItem(
                x=np.array(series.x, float) + shift,
                height=np.array(series.y, float),
                width=wide * 0.94,
                brush=pg.mkBrush(QColor(look.colour), style=_FILLS[look.dash % len(_FILLS)]),
                pen=pg.mkPen(shade),
            )
            self.plot.addItem(item)
            self._note(item, series, look)
        if self.panel.categories:
            self.plot.vb.setXRange(-0.6, len(self.panel.categories) - 0.4, padding=0)

    def _draw_points(self) -> None:
        # Trajectories lie over clouds.
        pairs = sorted(zip(self.panel.series, self._looks, strict=True), key=lambda pair: pair[0].joined)
        for series, look in pairs:
            pen, shade = self._pen(look)
            xs = np.array(self.scale.places(series.x), float)
            self._clouds.append((series, xs, np.array(series.y, float)))
            if not series.joined:
                shade.setAlphaF(0.6)
                item = pg.ScatterPlotItem(xs, series.y, size=7, brush=shade, pen=None, antialias=True)
                self.plot.addItem(item)
            else:
                last = len(xs) - 1
                item = self.plot.plot(
                    xs,
                    series.y,
                    pen=pen,
                    symbol="o",
                    # It begins with a ring and ends with a disc, so that its direction is seen.
                    symbolSize=[12 if i in (0, last) else 5 for i in range(len(xs))],
                    symbolBrush=[self._theme["background"] if i == 0 else shade for i in range(len(xs))],
                    symbolPen=[
                        pg.mkPen(shade, width=(2 if i == 0 else 1) * self._weight) for i in range(len(xs))
                    ],
                    antialias=True,
                )
            self._note(item, series, look)

    def _draw_grid(self) -> None:
        values = np.array(self.panel.grid, float)  # [rows, columns], bottom row first
        if values.size:
            left, right, bottom, top = self.panel.extent
            rows, columns = values.shape
            # The extent names the middles of the outer cells, the picture its own edges.
            across, up = (right - left) / max(1, columns - 1), (top - bottom) / max(1, rows - 1)
            colours = pg.colormap.get("inferno")
            levels = (float(values.min()), float(values.max()))
            if levels[0] == levels[1]:
                levels = (levels[0], levels[0] + 1.0)
            image = pg.ImageItem(values, axisOrder="row-major", levels=levels, colorMap=colours)
            image.setRect(QRectF(left - across / 2, bottom - up / 2, across * columns, up * rows))
            self.plot.addItem(image)
            self.bar = pg.ColorBarItem(
                values=levels, width=12, colorMap=colours, interactive=False, colorMapMenu=False
            )
            self.bar.setImageItem(image, insert_in=self.plot)
            for side in ("left", "right", "top", "bottom"):
                self.bar.getAxis(side).setPen(self._theme["text"])
                self.bar.getAxis(side).setTextPen(self._theme["text"])
                self.bar.getAxis(side).setStyle(maxTickLevel=0)
            self.bar.axis.setTickFont(small_font())
            self.bar.axis.setWidth(None)
            self._ratio = picture_ratio(self.panel)
            self.plot.vb.setAspectLocked(self._ratio is not None)
            self.plot.vb.setDefaultPadding(0.0)
        self._draw_lines()

    def _draw_marks(self) -> None:
        ink = self._theme["text"]
        for x, y, text in self.panel.marks:
            place = self.scale.place(x)
            self.plot.addItem(
                pg.ScatterPlotItem(
                    [place], [y], symbol="star", size=13, brush=ink, pen=pg.mkPen(self._theme["background"])
                )
            )
            if not text:
                continue
            word = pg.TextItem(text, color=ink, fill=veil(self._theme), anchor=self._side(place, y))
            word.setFont(small_font())
            word.setPos(place, y)
            word.setZValue(_ABOVE_LAYER)
            self.plot.addItem(word, ignoreBounds=True)

    def _side(self, place: float, y: float) -> tuple[float, float]:
        """Return the anchor of a word that keeps it inside the axes: it grows towards their middle."""
        (left, right), (bottom, top) = self.plot.vb.childrenBounds()
        if left is None or bottom is None:
            return 0.0, 1.0
        across = (place - left) / max(right - left, 1e-12)
        anchor_x = 0.0 if across < 0.3 else 1.0 if across > 0.7 else 0.5
        return anchor_x, -0.35 if y > (bottom + top) / 2 else 1.35

    def _note(self, item: Any, series: Series, look: Look) -> None:
        if series.name:
            self.entries.append(Entry(item, series.name, look))

    def _pen(self, look: Look) -> tuple[Any, QColor]:
        shade = QColor(readable(look.colour, self._theme))
        return pg.mkPen(shade, width=2 * self._weight, style=DASHES[look.dash % len(DASHES)]), shade


_FILLS = (
    Qt.BrushStyle.SolidPattern,
    Qt.BrushStyle.BDiagPattern,
    Qt.BrushStyle.Dense4Pattern,
    Qt.BrushStyle.FDiagPattern,
)


def picture_ratio(panel: Panel) -> float | None:
    """Return width over height of a grid whose units are alike on both axes; None where they hardly can be."""
    rows, columns = len(panel.grid), len(panel.grid[0]) if panel.grid else 0
    if not rows or not columns:
        return None
    left, right, bottom, top = panel.extent
    across = abs(right - left) * columns / max(1, columns - 1)
    up = abs(top - bottom) * rows / max(1, rows - 1)
    return across / up if up and 1 / 3 < across / up < 3 else None
