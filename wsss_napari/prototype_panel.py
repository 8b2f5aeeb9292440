"""A plot of the Prototypes page under its title, with a line of words below."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from wsss_napari.style import tint_axes

__all__ = ["Panel"]

_BINS = 20


class Panel(QWidget):
    """A plot that scales itself and has no menu.

    Args:
        title: Over it.
        tip: What it shows, for the tooltip.
        box: What takes the mouse in it; pyqtgraph's own by default.
    """

    def __init__(self, title: str, tip: str, box: pg.ViewBox | None = None) -> None:
        super().__init__()
        self.title = QLabel(title)
        self.title.setToolTip(f"<p>{html.escape(tip)}.</p>")
        self.words = QLabel()
        for label in (self.title, self.words):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            label.setMinimumHeight(label.fontMetrics().height() + 2)
        self.view = pg.PlotWidget(viewBox=box)
        self.view.setToolTip(f"<p>{html.escape(tip)}.</p>")
        self.view.setAccessibleName(title)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.plot = self.view.getPlotItem()
        self.plot.hideButtons()
        self.plot.setMenuEnabled(False)
        self.plot.getAxis("left").setWidth(34)
        self.plot.getAxis("bottom").setHeight(18)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setStyle(maxTickLevel=0)
        # Beside the title there is room for a button.
        self.head = QHBoxLayout()
        self.head.setContentsMargins(0, 0, 0, 0)
        self.head.addWidget(self.title, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self.head)
        column.addWidget(self.view, 1)
        column.addWidget(self.words)

    def histogram(self, item: Any, values: NDArray[Any], span: tuple[float, float], shade: QColor) -> None:
        """Draw how often values fall into each of 20 parts of a span.

        Args:
            item: The bars, in this plot.
            values: Any shape.
            span: The least and the largest value that are counted.
            shade: Colour of the bars.
        """
        counts, edges = np.histogram(values, _BINS, span)
        most = int(counts.max(initial=0))
        self.plot.getAxis("left").setTicks([[(n, str(n)) for n in sorted({0, most // 2, most})]])
        self.plot.setYRange(0, max(most, 1) * 1.08, padding=0)
        self.plot.setXRange(*span, padding=0.02)
        width = (span[1] - span[0]) / _BINS * 0.9
        item.setOpts(x=(edges[:-1] + edges[1:]) / 2, height=counts, width=width, brush=shade, pen=None)

    def tell(self, words: str) -> None:
        """Write the line below; all of it is in the tooltip."""
        self.words.setText(words)
        self.words.setToolTip(words)

    def set_theme(self, colours: Mapping[str, str]) -> None:
        """Paint with the colours of a napari theme."""
        text, ground = colours["text"], colours["background"]
        self.view.setBackground(ground)
        plain = f"color: {text}; background: {ground}; padding-left: 4px;"
        self.title.setStyleSheet(f"QLabel {{ {plain} font-weight: bold; }}")
        self.words.setStyleSheet(f"QLabel {{ {plain} }}")
        tint_axes(self.plot, text, faint=True)

    def sizeHint(self) -> QSize:
        return QSize(180, 130)

    def minimumSizeHint(self) -> QSize:
        return QSize(70, 90)
