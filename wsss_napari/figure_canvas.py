"""The panels of a figure side by side, in as many rows as their room asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal

from engine.colours import class_colours
from engine.results import Figure, Series
from wsss_napari.figure_legend import Legend
from wsss_napari.figure_panel import DASHES, PICTURE_AROUND, Look, PanelPlot, picture_ratio

__all__ = ["DARK", "FigureCanvas", "columns_for", "looks_of"]

DARK = {"background": "#262930", "text": "#f0f1f2", "foreground": "#414851"}

# What makes curves pleasant to read: width over height, and the least height with title and labels.
_SHAPE = 1.5
_LEAST_HEIGHT = 150


class FigureCanvas(pg.GraphicsLayoutWidget):
    """Draws the panels of a figure.

    Args:
        parent: Qt parent.
        weight: How many times as thick lines are drawn; they do not grow with the dots of a picture.

    Signals:
        pointed: (text) What is under the pointer; empty when there is nothing.
    """

    pointed = Signal(str)

    def __init__(self, parent: Any = None, *, weight: float = 1.0) -> None:
        # First: the base calls resizeEvent while it is made.
        self.panels: list[PanelPlot] = []
        self.legends: list[Legend] = []
        self._figure: Figure | None = None
        self._colours: tuple[str, ...] = ()
        self._theme: Mapping[str, str] = DARK
        self._columns = 0
        self._weight = weight
        self._shared = False
        self._legends: dict[int, Legend] = {}
        super().__init__(parent)
        self.setBackground(self._theme["background"])
        self.scene().sigMouseMoved.connect(self._point)

    def show_figure(self, figure: Figure | None, colours: Sequence[str] = ()) -> None:
        """Draw a figure; `colours` are the `#RRGGBB` of the project's classes."""
        self._figure, self._colours = figure, tuple(colours)
        self.redraw()

    def set_theme(self, theme: Mapping[str, str]) -> None:
        """Draw in the colours of a theme."""
        self._theme = dict(theme)
        self.setBackground(self._theme["background"])
        self.redraw()

    def redraw(self) -> None:
        """Draw everything anew."""
        self.clear()
        self.panels, self.legends = [], []
        self._columns = self._wanted_columns()
        if self._figure is None:
            return
        looks = looks_of(self._figure, self._colours)
        for at, (panel, own) in enumerate(zip(self._figure.panels, looks, strict=True)):
            drawn = PanelPlot(panel, own, self._theme, self._weight)
            self.addItem(drawn.plot, row=at // self._columns, col=at % self._columns)
            self.panels.append(drawn)
        self._add_legends()
        self._fit()

    def show_all(self) -> None:
        """Zoom out to everything."""
        for panel in self.panels:
            panel.plot.autoRange()

    def close(self) -> bool:
        """Let go of everything; the base resizes the view once more after it deleted the plots."""
        self._figure, self.panels, self.legends = None, [], []
        return bool(super().close())

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        if not self.panels:
            return
        if self._wanted_columns() != self._columns:
            self.redraw()
        else:
            self._fit()

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        for panel in self.panels:
            panel.forget()
        self.pointed.emit("")

    def sizeHint(self) -> QSize:
        return QSize(900, 200)

    def _add_legends(self) -> None:
        """Give neighbours of the same series one legend: beside them all, or beside the last of them."""
        groups: list[list[PanelPlot]] = []
        for panel in self.panels:
            told = [(e.name, e.look) for e in panel.entries]
            if groups and told == [(e.name, e.look) for e in groups[-1][-1].entries]:
                groups[-1].append(panel)
            else:
                groups.append([panel])
        self._shared = len(groups) == 1 and len(self.panels) > 1
        self._legends = {}
        for group in groups:
            entries = [([p.entries[i].item for p in group], e.name) for i, e in enumerate(group[0].entries)]
            if len(entries) < 2:
                continue
            legend = Legend(entries, self._theme["text"])
            self.legends.append(legend)
            if self._shared:
                self.addItem(legend, row=0, col=self._columns)
                self.ci.layout.setAlignment(legend, Qt.AlignmentFlag.AlignTop)
            else:
                group[-1].plot.layout.addItem(legend, 2, 5, Qt.AlignmentFlag.AlignTop)
                self._legends[self.panels.index(group[-1])] = legend

    def _wanted_columns(self) -> int:
        panels = () if self._figure is None else self._figure.panels
        size = (self.width(), self.height())
        if all(p.kind == "grid" for p in panels):
            ratios = [r for p in panels if (r := picture_ratio(p))]
            shape = sum(ratios) / len(ratios) if ratios else 1.0
            return columns_for(len(panels), *size, shape, PICTURE_AROUND)
        return columns_for(len(panels), *size)

    def _fit(self) -> None:
        columns = max(1, self._columns)
        rows = max(1, math.ceil(len(self.panels) / columns))
        wide, tall = self.width() / columns, self.height() / rows
        taken = [0.0] * len(self.panels)
        if self._shared:
            wide -= sum(legend.fit(self.width() * 0.2, tall - 20) for legend in self.legends) / columns
        else:
            for at, legend in self._legends.items():
                taken[at] = legend.fit(wide * 0.4, tall - 84)
        for panel, beside in zip(self.panels, taken, strict=True):
            panel.fit(wide - beside, tall)
            panel.plot.layout.activate()
        self.ci.layout.activate()
        # The base gave it the new size while the panels still had the limits of the old one.
        self.ci.setGeometry(QRectF(0, 0, self.width(), self.height()))

    def _point(self, where: QPointF) -> None:
        texts = [panel.read(where) for panel in self.panels]
        self.pointed.emit(next((t for t in texts if t), ""))


def columns_for(
    count: int, width: int, height: int, shape: float = _SHAPE, around: tuple[float, float] = (0.0, 0.0)
) -> int:
    """Return in how many columns `count` panels are largest on so many px.

    Args:
        count: Number of panels.
        width, height: px of all of them together.
        shape: How many times as wide as tall each is, without what is `around` it.
        around: px across and down.
    """

    def size(columns: int) -> float:
        rows = math.ceil(count / columns)
        tall = height / rows
        return (
            0.0
            if rows > 1 and tall < _LEAST_HEIGHT
            else min((width / columns - around[0]) / shape, tall - around[1])
        )

    # Of equals the one with fewer rows.
    return max(range(count, 0, -1), key=size, default=1)


def looks_of(figure: Figure, colours: Sequence[str]) -> list[list[Look]]:
    """Return colour and dash of every series of every panel.

    A class has its own colour everywhere; other names get the next free colour, the same in all
    panels. Series of one colour in one panel differ by their dash.
    """

    def owner(series: Series) -> str | None:
        return colours[series.cls] if series.cls is not None and series.cls < len(colours) else None

    # A colour that means a class in one panel means nothing else in another.
    classes = {c for p in figure.panels for s in p.series if (c := owner(s))}
    named: dict[str, str] = {}
    found = []
    for panel in figure.panels:
        taken = classes | {named[s.name] for s in panel.series if s.name in named}
        free = iter([c for c in class_colours(len(panel.series) + len(taken)) if c not in taken])
        own: list[Look] = []
        for series in panel.series:
            colour = owner(series) or named.get(series.name) or named.setdefault(series.name, next(free))
            # A cloud of points takes no dash from the curve through it.
            alike = sum(
                look.colour == colour and other.joined == series.joined
                for look, other in zip(own, panel.series, strict=False)
            )
            own.append(Look(colour, alike % len(DASHES)))
        found.append(own)
    return found
