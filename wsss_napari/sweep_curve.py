"""mIoU, precision, recall and noise over the threshold, with the best threshold marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from engine.colours import class_colours
from wsss_napari.curves import readable, veil
from wsss_napari.style import tint_axes

__all__ = ["SweepCurve"]

_LINES = (("miou", "mIoU"), ("precision", "precision"), ("recall", "recall"), ("noise", "noise"))


class SweepCurve(QWidget):
    """The curve of `wsss evaluate --sweep`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colours: dict[str, str] = {"background": "#262930", "text": "#f0f1f2"}
        self._result: Mapping[str, Any] | None = None
        self.view = pg.GraphicsLayoutWidget(self)
        self.plot = self.view.addPlot()
        self.plot.showGrid(x=True, y=True, alpha=0.2)
        self.plot.addLegend(offset=(-8, 4), labelTextSize="9pt")
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.best = pg.InfiniteLine(angle=90, movable=False)
        self.plot.addItem(self.best, ignoreBounds=True)
        self.read_out = QLabel("", self)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 0, 4, 2)
        column.setSpacing(0)
        column.addWidget(self.view, 1)
        column.addWidget(self.read_out)
        self.view.scene().sigMouseMoved.connect(self._point)

    def sizeHint(self) -> QSize:
        return QSize(700, 200)

    def show_result(self, result: Mapping[str, Any]) -> None:
        """Show a result that has a `curve` and the best `threshold`."""
        self._result = result
        self.redraw()

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        self._colours = dict(colours)
        self.redraw()

    def redraw(self) -> None:
        """Draw the curve anew."""
        text = self._colours["text"]
        self.view.setBackground(self._colours["background"])
        self.plot.clearPlots()
        self.plot.legend.clear()
        self.plot.legend.setLabelTextColor(text)
        self.plot.legend.setBrush(veil(self._colours))
        tint_axes(self.plot, text)
        self.plot.setLabel("bottom", "threshold", color=text)
        self.best.setPen(text, width=1, style=Qt.PenStyle.DashLine)
        self.best.setVisible(self._result is not None)
        if self._result is None:
            return
        curve = self._result["curve"]
        for (name, words), colour in zip(_LINES, class_colours(len(_LINES)), strict=True):
            values = np.array([np.nan if v is None else v for v in curve[name]], float)
            pen = pg.mkPen(readable(colour, self._colours), width=3 if name == "miou" else 1.5)
            item = self.plot.plot(np.array(curve["threshold"]), values, pen=pen, connect="finite")
            self.plot.legend.addItem(item, words)
        self.best.setValue(self._result["threshold"])
        self._say(self._result["threshold"])

    def _point(self, where: QPointF) -> None:
        if self._result is not None and self.plot.vb.sceneBoundingRect().contains(where):
            self._say(float(self.plot.vb.mapSceneToView(where).x()))

    def _say(self, threshold: float) -> None:
        assert self._result is not None
        curve = self._result["curve"]
        k = int(np.argmin(np.abs(np.array(curve["threshold"]) - threshold)))
        parts = [f"{words} {curve[name][k]:.3f}" for name, words in _LINES if curve[name][k] is not None]
        best = " (best)" if curve["threshold"][k] == self._result["threshold"] else ""
        self.read_out.setText(" · ".join([f"threshold {curve['threshold'][k]:g}{best}", *parts]))
