"""Training curves: losses on the left, scores on the right, live or from the records of old runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtSvg import QSvgGenerator
from qtpy.QtWidgets import QFileDialog, QLabel, QMenu, QVBoxLayout, QWidget

from engine.atomic import write_text
from engine.colours import class_colours
from engine.messages import Event
from wsss_napari.curve_data import LOSS, SCORE, CurveData, words_of
from wsss_napari.style import tint_axes

__all__ = ["Curves", "readable", "veil"]

_DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
    Qt.PenStyle.DashDotDotLine,
)
_TITLES = {LOSS: "Loss", SCORE: "Average precision of the image tags"}
# One redraw for all events that came meanwhile; the eye needs no more.
_REDRAW_MS = 100


class Curves(QWidget):
    """Two plots that grow while a method trains; several runs lie over each other when compared."""

    pointed = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data = CurveData()
        self._names: dict[str, str] = {}
        self._colours: dict[str, str] = {"background": "#262930", "text": "#f0f1f2", "foreground": "#414851"}
        self._log = False
        self.view = pg.GraphicsLayoutWidget(self)
        self.view.setToolTip("Point at a curve to read it; right-click to save it")
        self.plots: dict[str, pg.PlotItem] = {}
        self._lines: dict[str, pg.InfiniteLine] = {}
        for column, axis in enumerate((LOSS, SCORE)):
            self.plots[axis] = self._plot(axis, column)
        self.read_out = QLabel("", self)
        self.read_out.setMinimumHeight(self.read_out.sizeHint().height())
        self.empty = QLabel(
            "No curve yet. Start a training, or choose a run in the table of runs.", self.view
        )
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column_box = QVBoxLayout(self)
        column_box.setContentsMargins(4, 0, 4, 2)
        column_box.setSpacing(0)
        column_box.addWidget(self.view, 1)
        column_box.addWidget(self.read_out)
        self.view.scene().sigMouseMoved.connect(self._point)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self.redraw)
        self.redraw()

    def clear(self) -> None:
        """Take all curves away."""
        self.data = CurveData()
        self._names.clear()
        self.redraw()

    def append(self, run: str, event: Event, name: str = "") -> None:
        """Add what a live event says; the drawing follows within a tenth of a second."""
        self._names.setdefault(run, name or run)
        if self.data.add(run, event) and not self._timer.isActive():
            self._timer.start()

    def load(self, runs: Mapping[str, tuple[str, Iterable[Event]]]) -> None:
        """Show recorded runs: id -> (name, events), over each other."""
        self.data = CurveData()
        self._names = {run: name for run, (name, _) in runs.items()}
        for run, (_, events) in runs.items():
            self.data.load(run, events)
        self.redraw()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._colours = dict(colours)
        self.redraw()

    def sizeHint(self) -> QSize:
        return QSize(900, 200)

    def redraw(self) -> None:
        """Draw all curves anew."""
        text, background = self._colours["text"], self._colours["background"]
        self.view.setBackground(background)
        self.empty.setStyleSheet(f"color: {text}; background: transparent;")
        drawn = False
        for axis, plot in self.plots.items():
            plot.clearPlots()
            legend = plot.legend
            legend.clear()
            legend.setLabelTextColor(text)
            legend.setBrush(veil(self._colours))
            for name, series, pen in self._series(axis):
                symbol = "o" if len(series.steps) == 1 else None  # one point makes no line
                curve = plot.plot(
                    series.steps,
                    series.values,
                    pen=pen,
                    symbol=symbol,
                    symbolBrush=pen.color(),
                    symbolPen=None,
                )
                legend.addItem(curve, name)
                drawn = True
            tint_axes(plot, text)
            plot.setTitle(_TITLES[axis], color=text, size="10pt")
            plot.setLabel("bottom", "step", color=text)
            self._lines[axis].setPen(text, style=Qt.PenStyle.DotLine)
        self.plots[LOSS].setLogMode(y=self._log)
        self.empty.setVisible(not drawn)
        self._place_empty()

    def save(self, path: Path) -> None:
        """Save the curves as they are drawn (png, svg) or as numbers (csv), by the file's extension."""
        if path.suffix.lower() == ".csv":
            write_text(path, self.data.csv())
            return
        scene, size = self.view.scene(), self.view.size()
        target = QRectF(0, 0, size.width(), size.height())
        if path.suffix.lower() == ".svg":
            device: Any = QSvgGenerator()
            device.setFileName(str(path))
            device.setSize(size)
            device.setViewBox(target.toRect())
        else:
            device = QImage(size * 2, QImage.Format.Format_RGB32)
            device.fill(QColor(self._colours["background"]))
            target = QRectF(0, 0, size.width() * 2, size.height() * 2)
        painter = QPainter(device)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scene.render(painter, target, QRectF(self.view.viewRect()))
        painter.end()
        if isinstance(device, QImage) and not device.save(str(path)):
            raise OSError(f"{path} cannot be written.")

    def _series(self, axis: str) -> list[tuple[str, Any, Any]]:
        """Return (legend, series, pen); one run is coloured by metric, several by run."""
        keys, several = self.data.keys(axis), len(self.data.runs) > 1
        colours = class_colours(max(len(keys), len(self.data.runs), 1))
        found = []
        for at, (run, curves) in enumerate(self.data.runs.items()):
            for n, key in enumerate(k for k in keys if k in curves):
                colour = colours[at] if several else colours[n]
                dash = _DASHES[n % len(_DASHES)] if several else Qt.PenStyle.SolidLine
                name = f"{self._names.get(run, run)} · {words_of(key)}" if several else words_of(key)
                found.append(
                    (name, curves[key], pg.mkPen(readable(colour, self._colours), width=2, style=dash))
                )
        return found

    def _plot(self, axis: str, column: int) -> pg.PlotItem:
        plot = self.view.addPlot(row=0, col=column)
        plot.showGrid(x=True, y=True, alpha=0.2)
        # Losses fall and precisions rise: the corner that they leave free.
        plot.addLegend(offset=(-8, 4) if axis == LOSS else (-8, -4), labelTextSize="9pt")
        plot.setMenuEnabled(False)
        plot.hideButtons()
        line = pg.InfiniteLine(angle=90, movable=False)
        line.setVisible(False)
        plot.addItem(line, ignoreBounds=True)
        self._lines[axis] = line
        return plot

    def _point(self, where: QPointF) -> None:
        """Write what the curves say under the pointer."""
        text = ""
        for axis, plot in self.plots.items():
            inside = plot.vb.sceneBoundingRect().contains(where) and not self.empty.isVisible()
            self._lines[axis].setVisible(inside)
            if inside:
                step = plot.vb.mapSceneToView(where).x()
                self._lines[axis].setValue(step)
                values = self.data.read_out(axis, step)
                several = len(self.data.runs) > 1
                parts = [
                    f"{self._names.get(run, run) + ' ' if several else ''}{words_of(key)} {value:.4g}"
                    for run, key, value in values
                ]
                text = " · ".join([f"step {step:.0f}", *parts])
                self.pointed.emit(float(step))
        self.read_out.setText(text)
        self.read_out.setToolTip(text)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._place_empty()

    def contextMenuEvent(self, event: Any) -> None:
        self.menu().exec(event.globalPos())

    def menu(self) -> QMenu:
        """Return the context menu."""
        menu = QMenu(self)
        for kind, words in (
            ("csv", "Save the numbers (CSV)…"),
            ("png", "Save a picture (PNG)…"),
            ("svg", "Save a drawing (SVG)…"),
        ):
            action = menu.addAction(words)
            action.triggered.connect(lambda _checked=False, kind=kind: self._ask(kind))
            action.setEnabled(bool(self.data.runs))
        menu.addSeparator()
        log = menu.addAction("Logarithmic loss")
        log.setCheckable(True)
        log.setChecked(self._log)
        log.triggered.connect(self._set_log)
        menu.addAction("Show all").triggered.connect(lambda: [p.autoRange() for p in self.plots.values()])
        return menu

    def _set_log(self, on: bool) -> None:
        self._log = on
        self.redraw()

    def _ask(self, kind: str) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save curves", f"curves.{kind}", f"*.{kind}")
        if name:
            self.save(Path(name).with_suffix(f".{kind}"))

    def _place_empty(self) -> None:
        self.empty.setGeometry(self.view.rect())


def veil(theme: Mapping[str, str]) -> QColor:
    """Return the ground of a legend: dense enough to read over a curve, thin enough to see it pass."""
    shade = QColor(theme["background"])
    shade.setAlphaF(0.8)
    return shade


def readable(colour: str, theme: Mapping[str, str]) -> QColor:
    """Return the colour, lightened on a dark ground and darkened on a light one where it would fade."""
    shade = QColor(colour)
    ground = QColor(theme["background"]).lightnessF()
    if ground < 0.5 and shade.lightnessF() < 0.4:
        return shade.lighter(150)
    if ground >= 0.5 and shade.lightnessF() > 0.55:
        return shade.darker(135)
    return shade
