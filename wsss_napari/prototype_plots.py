"""The plot strip of the Prototypes page: the bank as a map, its scores and ages, and likeness to other classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from wsss_napari.curves import readable
from wsss_napari.prototype_lasso import LassoBox, inside
from wsss_napari.prototype_panel import Panel
from wsss_napari.prototype_view import BankMap

__all__ = ["PrototypePlots"]

# More classes than this cannot be told apart in a strip.
_MOST = 7


class PrototypePlots(QWidget):
    """Four plots of one class's bank. The first is panned by dragging and zoomed by the wheel.

    Signals:
        row_hovered: (row) the pointer is over this row of the bank, or -1.
        row_clicked: (row) it was clicked.
        lassoed: (rows) a line was drawn round these rows of the bank, or round none.
        prototype_clicked: (number) a prototype was clicked.
        alpha_dragged: (score) the line in the scores was dragged.
    """

    row_hovered = Signal(int)
    row_clicked = Signal(int)
    lassoed = Signal(object)
    prototype_clicked = Signal(int)
    alpha_dragged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme: dict[str, str] = {"background": "#262930", "text": "#f0f1f2", "foreground": "#414851"}
        self._colour = "#888888"
        self._words = ""
        self._places = np.zeros((0, 2), np.float32)
        self._bars: list[tuple[str, str, float]] = []
        self.box = LassoBox()
        self.map = Panel(
            "The class's bank",
            "Directions of rows (dots), prototypes (diamonds) and this image's instance prototype before (ring) and "
            "after the shift (star), in the plane in which the rows differ most (PCA). Drag: move. Wheel: zoom. "
            "Right click: show all. Click on a dot: show its image. Shift and drag: draw a lasso round rows",
            self.box,
        )
        self.score = Panel(
            "Scores of the rows",
            "Score with which each row came into the bank; drag the line α to see which would have passed",
        )
        self.age = Panel("Ages", "How many training steps before the newest row of the bank each row came in")
        self.others = Panel(
            "Likeness to classes",
            "Cosine of the instance prototype to the likest prototype of each class. Another class as high as the "
            "chosen one: they are seen together too often to be told apart",
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 2, 4, 2)
        row.setSpacing(6)
        for panel, share in zip(self.panels, (5, 4, 3, 4), strict=True):
            row.addWidget(panel, share)
        self._build()
        self.setAccessibleName("Plots of the prototypes")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.set_theme(self._theme)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The plots, left to right."""
        return self.map, self.score, self.age, self.others

    def show_bank(
        self,
        found: BankMap,
        *,
        colour: str,
        evicted: Sequence[int] = (),
        off: Sequence[int] = (),
        lit: int | None = None,
        ringed: Sequence[int] = (),
        words: str = "",
    ) -> None:
        """Draw rows and prototypes; the view is fitted anew only when there are others.

        Args:
            found: Where they lie.
            colour: `#RRGGBB` of the class.
            evicted: Rows that take no part, drawn hollow.
            off: Prototypes that take no part, likewise.
            lit: The prototype that is looked at.
            ringed: Rows in the lasso.
            words: Said while nothing is pointed at.
        """
        self._places = found.rows
        fresh = len(found.rows) != len(self.rows.data) or self._colour != colour
        self._colour = colour
        shade = readable(colour, self._theme)
        soft = QColor(shade)
        soft.setAlphaF(0.6)
        none, ink = pg.mkBrush(None), pg.mkPen(self._theme["text"], width=1)
        gone, dark, held = set(evicted), set(off), set(ringed)
        full, rim, bare = pg.mkBrush(soft), pg.mkPen(soft), pg.mkPen(None)
        self.rows.setData(
            pos=found.rows,
            data=np.arange(len(found.rows)),
            brush=[none if n in gone else full for n in range(len(found.rows))] if gone else full,
            pen=[ink if n in held else rim if n in gone else bare for n in range(len(found.rows))]
            if gone or held
            else bare,
        )
        bright = pg.mkPen("#F0E442", width=2.5)
        self.prototypes.setData(
            pos=found.prototypes,
            data=np.arange(len(found.prototypes)),
            brush=[none if n in dark else pg.mkBrush(shade) for n in range(len(found.prototypes))],
            pen=[bright if n == lit else ink for n in range(len(found.prototypes))],
        )
        self.show_instance(found)
        self._words = words
        self.map.tell(words)
        if fresh:
            self.map.plot.autoRange(padding=0.12)

    def drop_lasso(self) -> None:
        """Take the lasso away, as when its rows are let go."""
        self.box.clear_outline()

    def point(self, words: str) -> None:
        """Say what is under the pointer; nothing says again what there is."""
        self.map.tell(words or self._words)

    def show_instance(self, found: BankMap) -> None:
        """Move the instance prototype and its arrow; the cheap part of what a slider changes."""
        there = found.before is not None and found.after is not None and len(found.rows) > 0
        for item in (self.before, self.after, self.path, self.arrow):
            item.setVisible(there)
        if found.before is None or found.after is None:
            return
        (x0, y0), (x1, y1) = found.before.tolist(), found.after.tolist()
        self.before.setData(pos=[(x0, y0)])
        self.after.setData(pos=[(x1, y1)])
        self.path.setData([x0, x1], [y0, y1])
        self.arrow.setPos((x0 + x1) / 2, (y0 + y1) / 2)
        self.arrow.setStyle(angle=180 - math.degrees(math.atan2(y1 - y0, x1 - x0)))
        self.arrow.setVisible(there and math.hypot(x1 - x0, y1 - y0) > 1e-4)

    def show_scores(self, scores: NDArray[Any], alpha: float, words: str) -> None:
        """Draw the histogram of scores with alpha in it; `words` say what passes."""
        self.score.histogram(self.score_bars, scores, (0.0, 1.0), readable(self._colour, self._theme))
        self.show_alpha(alpha, words)

    def show_alpha(self, alpha: float, words: str) -> None:
        """Put the line on a score."""
        self.alpha.setValue(alpha)
        self.score.tell(words)

    def show_ages(self, ages: NDArray[Any], words: str) -> None:
        """Draw the histogram of ages in steps; `words` say how full the bank is."""
        span = (0.0, float(ages.max(initial=0)) + 1)
        self.age.histogram(self.age_bars, ages, span, readable(self._colour, self._theme))
        self.age.tell(words)

    def show_others(self, bars: Sequence[tuple[str, str, float]], words: str) -> None:
        """Draw a bar a class: (name, `#RRGGBB`, cosine) each, the likest first; `words` say what they mean."""
        self._bars = list(bars)[:_MOST]
        left = len(bars) - len(self._bars)
        self.others.tell(words + (f" · {left} more classes" if left else ""))
        self._draw_others()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._theme = dict(colours)
        for panel in self.panels:
            panel.set_theme(self._theme)
        ink = self._theme["text"]
        self.before.setPen(pg.mkPen(ink, width=2))
        self.after.setPen(pg.mkPen(ink, width=1))
        self.path.setPen(pg.mkPen(ink, width=1.5))
        self.arrow.setStyle(brush=pg.mkBrush(ink), pen=pg.mkPen(None))
        self.lasso.setStyleSheet(
            f"QToolButton {{ color: {ink}; background: transparent; border: 1px solid {colours['foreground']}; "
            f"padding: 0px 5px; }}"
            f"QToolButton:hover, QToolButton:checked {{ background: {colours['foreground']}; }}"
            f"QToolButton:focus {{ border: 1px solid {ink}; }}"
        )
        self.box.outline.setPen(pg.mkPen("#F0E442", width=1.5))
        self.alpha.setPen(pg.mkPen(ink, width=2))
        self.alpha.label.setColor(ink)
        self._draw_others()

    def sizeHint(self) -> QSize:
        return QSize(900, 190)

    def minimumSizeHint(self) -> QSize:
        return QSize(320, 130)

    def _build(self) -> None:
        self.map.plot.setAspectLocked(True)
        self.lasso = QToolButton()
        self.lasso.setText("Lasso")
        self.lasso.setCheckable(True)
        self.lasso.setProperty("wsss", "quiet")
        self.lasso.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.lasso.setToolTip("Draw round rows of the bank by dragging, then pin or evict them together")
        self.lasso.toggled.connect(self._lasso_on)
        self.map.head.addWidget(self.lasso)
        self.box.lassoed.connect(lambda corners: self.lassoed.emit(tuple(inside(self._places, corners))))
        self.map.view.scene().sigMouseClicked.connect(self._show_all)
        for side in ("left", "bottom"):
            self.map.plot.hideAxis(side)
        self.rows = pg.ScatterPlotItem(symbol="o", size=7, hoverable=True, hoverSize=11)
        self.prototypes = pg.ScatterPlotItem(symbol="d", size=12)
        self.path = pg.PlotCurveItem()
        self.arrow = pg.ArrowItem(headLen=10, tipAngle=40)
        self.before = pg.ScatterPlotItem(symbol="o", size=11, brush=None)
        self.after = pg.ScatterPlotItem(symbol="star", size=16, brush="#F0E442")
        for z, item in enumerate(
            (self.rows, self.prototypes, self.path, self.arrow, self.before, self.after)
        ):
            item.setZValue(z)
            self.map.plot.addItem(item)
        self.rows.sigHovered.connect(self._hover)
        self.rows.sigClicked.connect(lambda _item, points, *_: self._click(points, self.row_clicked))
        self.prototypes.sigClicked.connect(
            lambda _item, points, *_: self._click(points, self.prototype_clicked)
        )
        self.score_bars = pg.BarGraphItem(x=[0], height=[0], width=0.01)
        self.age_bars = pg.BarGraphItem(x=[0], height=[0], width=0.01)
        self.other_bars = pg.BarGraphItem(x0=[0], y=[0], height=0.01, width=[0])
        self.alpha = pg.InfiniteLine(
            angle=90, movable=True, bounds=(0, 1), label="α", labelOpts={"position": 0.85}
        )
        self.alpha.sigDragged.connect(lambda line: self.alpha_dragged.emit(float(line.value())))
        self.score.plot.addItem(self.score_bars)
        self.score.plot.addItem(self.alpha)
        self.age.plot.addItem(self.age_bars)
        self.others.plot.addItem(self.other_bars)
        for panel in (self.score, self.age, self.others):
            panel.plot.setMouseEnabled(False, False)
        for panel in (self.score, self.others):
            panel.plot.getAxis("bottom").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")]])

    def _draw_others(self) -> None:
        names = [(name, colour, value) for name, colour, value in self._bars if np.isfinite(value)]
        count = len(names)
        self.other_bars.setOpts(
            x0=np.zeros(count),
            y=np.arange(count)[::-1],
            height=0.7,
            width=np.array([max(value, 0.0) for _, _, value in names]),
            brushes=[readable(colour, self._theme) for _, colour, _ in names],
            pen=None,
        )
        axis = self.others.plot.getAxis("left")
        axis.setTicks([[(count - 1 - n, _short(name)) for n, (name, _, _) in enumerate(names)]])
        axis.setWidth(76)
        self.others.plot.setXRange(0, 1, padding=0.02)
        self.others.plot.setYRange(-0.6, max(count, 1) - 0.4, padding=0)

    def _lasso_on(self, on: bool) -> None:
        self.box.on = on
        self.map.view.setCursor(Qt.CursorShape.CrossCursor if on else Qt.CursorShape.ArrowCursor)

    def _show_all(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.RightButton:
            self.map.plot.autoRange(padding=0.12)

    def _hover(self, _item: Any, points: Any, *_: Any) -> None:
        self.row_hovered.emit(int(points[0].data()) if len(points) else -1)

    def _click(self, points: Any, signal: Any) -> None:
        if len(points):
            signal.emit(int(points[0].data()))


def _short(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:10]}…"
