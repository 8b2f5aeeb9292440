"""One small plot over the steps of a climb, with its legend and the values at the cursor in one line."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from wsss_napari.curves import readable, veil
from wsss_napari.style import tint_axes

__all__ = ["Line", "StepPanel"]

Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Line:
    """One curve: its name, colour (`#RRGGBB`, or `text` for the theme's), and a value a step.

    Attributes:
        strong: Drawn thick and told first.
        dashed: The same of a second path, dashed.
        told: What the legend tells in place of the values drawn.
        form: How a value is told.
    """

    name: str
    colour: str
    values: Values
    strong: bool = False
    dashed: Values | None = None
    told: Values | None = None
    form: str = "{:.3g}"

    def at(self, step: int) -> str:
        """Return the value at a step in words, or an empty string."""
        values = self.values if self.told is None else self.told
        if not 0 <= step < len(values) or not np.isfinite(values[step]):
            return ""
        return self.form.format(float(values[step]))


class StepPanel(QWidget):
    """Curves over the steps; a click or a drag anywhere in the plot moves the cursor.

    Signals:
        moved: (step) a person pointed at a step.
    """

    moved = Signal(int)

    def __init__(self, title: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme: dict[str, str] = {"background": "#262930", "text": "#f0f1f2"}
        self._lines: list[Line] = []
        self._last = 0
        self._step = 0
        self._mark: tuple[int, float, str] | None = None
        self.title = QLabel(title)
        self.title.setToolTip(tip)
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        for label in (self.title, self.legend):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            label.setMinimumHeight(label.fontMetrics().height() + 2)
        box = _Scrub()
        self.view = pg.PlotWidget(viewBox=box)
        self.view.setToolTip(f"{tip}. Click or drag to move the cursor.")
        self.view.setAccessibleName(title)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)  # the strip has one for all plots
        self.plot = self.view.getPlotItem()
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.showGrid(y=True, alpha=0.15)
        for side in ("left", "bottom"):  # a small plot has room for one level of lines
            self.plot.getAxis(side).setStyle(maxTickLevel=0)
        self.plot.getAxis("left").setWidth(46)
        self.plot.getAxis("bottom").setHeight(18)
        self.plot.disableAutoRange()
        self.empty = QLabel(self.view)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._curves: list[pg.PlotCurveItem] = []
        self._dashes: list[pg.PlotCurveItem] = []
        self._pens: list[tuple[str, bool]] = []
        self.line = pg.InfiniteLine(angle=90, movable=False)
        self.line.setZValue(5)
        self.star = pg.ScatterPlotItem(symbol="star", size=13)
        self.star.setZValue(6)
        self.words = pg.TextItem(anchor=(0.5, 1.15))
        self.words.setZValue(6)
        for item in (self.line, self.star, self.words):
            self.plot.addItem(item, ignoreBounds=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.title)
        column.addWidget(self.view, 1)
        column.addWidget(self.legend)
        box.pointed.connect(self._point)
        self.set_theme(self._theme)

    def show_lines(
        self,
        lines: Sequence[Line],
        last: int,
        *,
        empty: str = "",
        mark: tuple[int, float, str] | None = None,
    ) -> None:
        """Draw curves over the steps 0 to `last`.

        Args:
            lines: What is drawn; those drawn before in this place get new data.
            last: Right end of the axis.
            empty: Why there is nothing to draw, where there is nothing.
            mark: (step, value, text) of a point worth a star.
        """
        self._lines, self._last, self._mark = list(lines), last, mark
        self._fit_curves(len(lines))
        self._style()
        for line, curve, dash in zip(lines, self._curves, self._dashes, strict=True):
            curve.setData(np.arange(len(line.values)), np.asarray(line.values, float))
            dash.setVisible(line.dashed is not None)
            if line.dashed is not None:
                dash.setData(np.arange(len(line.dashed)), np.asarray(line.dashed, float))
        shown = bool(lines)
        self.empty.setText("" if shown else empty)
        self.empty.setVisible(not shown)
        self.line.setVisible(shown)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setVisible(shown)
        self._place_mark()
        self._fit_range()
        self._tell()

    def set_cursor(self, step: int) -> None:
        """Put the cursor on a step and tell the values there."""
        self._step = step
        self.line.setValue(step)
        self._tell()

    def read_out(self) -> str:
        """Return all values at the cursor, or why there are none."""
        told = [f"{line.name} {line.at(self._step)}" for line in self._lines if line.at(self._step)]
        return f"{self.title.text()}: {', '.join(told) or self.empty.text() or 'nothing'}"

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._theme = dict(colours)
        text, ground = self._theme["text"], self._theme["background"]
        self.view.setBackground(ground)
        # With a selector, or the tooltips would look like the labels.
        plain = f"color: {text}; background: {ground}; padding-left: 4px;"
        self.title.setStyleSheet(f"QLabel {{ {plain} font-weight: bold; }}")
        self.legend.setStyleSheet(f"QLabel {{ {plain} }}")
        self.empty.setStyleSheet(f"QLabel {{ color: {text}; background: transparent; padding: 6px; }}")
        tint_axes(self.plot, text, faint=True)
        self.line.setPen(pg.mkPen(text, width=1))
        self.star.setBrush(pg.mkBrush("#F0E442"))
        self.star.setPen(pg.mkPen(text, width=1))
        self.words.setColor(text)
        self.words.fill = pg.mkBrush(veil(self._theme))
        self._pens = []
        self._style()
        self._tell()

    def minimumSizeHint(self) -> QSize:
        return QSize(80, 90)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self.empty.setGeometry(self.view.rect())
        self._tell()

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self.empty.setGeometry(self.view.rect())

    def _fit_curves(self, count: int) -> None:
        while len(self._curves) < count:
            for kept in (self._curves, self._dashes):
                kept.append(pg.PlotCurveItem(connect="finite", antialias=True))
                self.plot.addItem(kept[-1], ignoreBounds=True)
        while len(self._curves) > count:
            self.plot.removeItem(self._curves.pop())
            self.plot.removeItem(self._dashes.pop())

    def _style(self) -> None:
        """Give the curves their pens, where they have others."""
        wanted = [(line.colour, line.strong) for line in self._lines]
        if wanted == self._pens or len(wanted) != len(self._curves):
            return
        self._pens = wanted
        for line, curve, dash in zip(self._lines, self._curves, self._dashes, strict=True):
            colour = self._colour(line)
            curve.setPen(pg.mkPen(colour, width=2.6 if line.strong else 1.2))
            curve.setZValue(2 if line.strong else 1)
            dash.setPen(pg.mkPen(colour, width=1.8, style=Qt.PenStyle.DashLine))
            dash.setZValue(3)

    def _colour(self, line: Line) -> QColor:
        return readable(self._theme["text"] if line.colour == "text" else line.colour, self._theme)

    def _fit_range(self) -> None:
        self.plot.setXRange(0, max(1, self._last), padding=0.03)
        all_values = [
            np.asarray(v, float) for line in self._lines for v in (line.values, line.dashed) if v is not None
        ]
        finite = np.concatenate([v[np.isfinite(v)] for v in all_values]) if all_values else np.zeros(0)
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        room = (high - low) or max(abs(high), 1.0) * 0.1
        # More above: the star's words stand there.
        self.plot.setYRange(low - 0.06 * room, high + (0.28 if self._mark else 0.08) * room, padding=0)

    def _place_mark(self) -> None:
        mark = self._mark
        self.star.setData([] if mark is None else [{"pos": mark[:2]}])
        self.words.setVisible(mark is not None)
        if mark is not None:
            step, value, text = mark
            self.words.setText(text)
            share = step / max(1, self._last)
            self.words.setAnchor((0.0 if share < 0.2 else 1.0 if share > 0.8 else 0.5, 1.15))
            self.words.setPos(step, value)

    def _tell(self) -> None:
        """Write dot, name and value of as many curves as there is room for; the tooltip tells all."""
        told = [(line, line.at(self._step)) for line in self._lines]
        told.sort(key=lambda pair: not pair[0].strong)
        metrics, room = self.legend.fontMetrics(), self.legend.width() - 8
        parts: list[str] = []
        left = 0
        for n, (line, value) in enumerate(told):
            words = f"{line.name} {value}"
            wide = metrics.horizontalAdvance(f"● {words}   ")
            rest = metrics.horizontalAdvance(f"+{len(told)}") if n + 1 < len(told) else 0
            if left + wide + rest > room and parts:
                parts.append(f"+{len(told) - n}")
                break
            if wide > room:
                words = metrics.elidedText(words, Qt.TextElideMode.ElideMiddle, max(20, room - 20))
            name = html.escape(words)
            dot = f'<span style="color: {self._colour(line).name()}">●</span>'
            parts.append(f"{dot} <b>{name}</b>" if line.strong else f"{dot} {name}")
            left += wide
        self.legend.setText("&nbsp;&nbsp; ".join(parts))
        self.legend.setToolTip("\n".join(f"{line.name} {value}" for line, value in told))

    def _point(self, where: QPointF) -> None:
        if self._lines:
            self.moved.emit(round(float(self.plot.vb.mapSceneToView(where).x())))


class _Scrub(pg.ViewBox):
    """The ground of a plot that is not zoomed or moved: pointing at it tells where."""

    pointed = Signal(object)

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.setMouseEnabled(False, False)

    def mousePressEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            self.pointed.emit(event.scenePos())
        else:
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: Any) -> None:
        # Comes only after a press that was accepted: pyqtgraph's own drags are not asked.
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.pointed.emit(event.scenePos())
