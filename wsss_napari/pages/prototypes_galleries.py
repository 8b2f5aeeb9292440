"""The pictures of the Prototypes page: neighbours of the image, clusters of the bank, rows of one or of a lasso."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSlider,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from wsss_napari.controls import note
from wsss_napari.prototype_clusters import ClusterGrid
from wsss_napari.prototype_gallery import Gallery
from wsss_napari.prototype_panel import Panel
from wsss_napari.thumbnails import Thumbnails

__all__ = ["PrototypeGalleries"]

_BARS = '<span style="color: #E69F00">■</span> weight &nbsp; <span style="color: #56B4E9">■</span> similarity'
_CLAIM = (
    "<p>Claim 1: training draws the two bars of each neighbour together. Similarity s is the softmax of the products with the "
    "instance prototype over the neighbours, weight the positiveness w/Σw (eq. 7). Each row is scaled by its longest bar."
    "</p><p>Point at a crop: its map. Click: switch it off or on. Click on the words under it: its rows of the bank. "
    "Keys: Up and Down, Space, Enter.</p>"
)
_RANK = "Step through the neighbours' maps, the heaviest first"
_SHIFTS = (
    "|δ|, how far the running mean of what enters the bank lies from the mean of its rows (eq. 12), at each round of "
    "clustering. Near 0 while all rows are young; it grows as the embedding moves on from the older ones"
)
_SIZES = "How many prototypes have how many rows. One with very few stands for hardly more than one image"


class PrototypeGalleries(QWidget):
    """Two tabs, neighbours and clusters, and under them the rows of the bank that were asked for.

    Args:
        thumbnails: Where crops come from.
        parent: Qt parent.

    Signals:
        turned: (whether the clusters are in front) another tab was chosen.
        ranked: (place by weight, 0 the heaviest) the slider of the neighbours was moved.
    """

    turned = Signal(bool)
    ranked = Signal(int)

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lasso_said: tuple[int, bool, bool] | None = None
        self.tabs = QTabBar(self)
        self.tabs.setProperty("wsss", "pages")
        self.tabs.setExpanding(False)
        self.tabs.setDrawBase(False)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.tabs.addTab("Neighbours")
        self.tabs.addTab("Clusters")
        self.tabs.setTabToolTip(0, "The prototypes that draw this image's map")
        self.tabs.setTabToolTip(
            1, "What every prototype of the class stands for: crops of the rows it was made of"
        )
        self.tabs.setAccessibleName("Neighbours or clusters")
        self._build_neighbours(thumbnails)
        self._build_clusters(thumbnails)
        self._build_rows(thumbnails)
        column = _column(self, 4)
        for widget in (self.tabs, self._neighbours, self._clusters, self.rows_title, self.lasso, self.rows):
            column.addWidget(widget)
        self.tabs.currentChanged.connect(self._turn)
        self._turn(0)
        self.show_lasso(0, True, True)

    @property
    def clusters_shown(self) -> bool:
        """Whether the clusters are in front."""
        return self.tabs.currentIndex() == 1

    def show_rows(self, title: str, there: bool) -> None:
        """Name the prototype or the lasso whose rows are shown, or say that there are none."""
        self.rows_title.setText(title)
        self.rows_title.setVisible(bool(title))
        self.rows.setVisible(there)

    def show_lasso(self, count: int, evict: bool, pin: bool) -> None:
        """Show what can be done to the rows in a lasso, and whether it would be done or taken back; 0 hides it."""
        if (count, evict, pin) == self._lasso_said:  # asked at every move of a slider
            return
        self._lasso_said = (count, evict, pin)
        self.lasso.setVisible(count > 0)
        rows = f"{count} row{'s' if count != 1 else ''}"
        self.evict_all.setText("Evict all" if evict else "Bring all back")
        self.evict_all.setToolTip(
            f"Let these {rows} take no part" if evict else f"Let these {rows} take part again"
        )
        self.pin_all.setText("Pin all" if pin else "Unpin all")
        self.pin_all.setToolTip(
            f"Keep these {rows} first in the gallery" if pin else "Keep them first no longer"
        )

    def show_rank(self, at: int, count: int) -> None:
        """Show which neighbour is looked at: `at` of `count` by weight, 0 the heaviest; without telling."""
        with QSignalBlocker(self.rank):
            self.rank.setRange(0, max(count - 1, 0))
            self.rank.setValue(at)
        self.rank.setEnabled(count > 1)
        self.rank_text.setText(f"{at + 1} of {count}" if count else "none")

    def show_sizes(self, sizes: list[int], shade: QColor) -> None:
        """Draw the histogram of cluster sizes."""
        span = (0.0, float(max(sizes, default=0)) + 1)
        self.sizes.histogram(self.size_bars, np.array(sizes), span, shade)

    def show_shifts(self, points: list[tuple[int, float]], shade: QColor) -> None:
        """Draw (epoch from 1, |delta|) as a line; one point alone is no line and is not shown."""
        self.shifts.setVisible(len(points) > 1)
        if len(points) < 2:
            return
        epochs, sizes = zip(*points, strict=True)
        self.shift_line.setData(epochs, sizes, pen=shade, symbolBrush=shade, symbolPen=None)
        self.shifts.plot.setXRange(epochs[0], epochs[-1], padding=0.04)
        self.shifts.plot.setYRange(0, max(max(sizes), 1e-6) * 1.08, padding=0)
        middle = epochs[len(epochs) // 2]
        self.shifts.plot.getAxis("bottom").setTicks(
            [[(e, str(e)) for e in sorted({epochs[0], middle, epochs[-1]})]]
        )
        self.shifts.tell(f"|δ| {sizes[-1]:.3f} in epoch {epochs[-1]}, {sizes[0]:.3f} in epoch {epochs[0]}")

    def _turn(self, at: int) -> None:
        self._neighbours.setVisible(at == 0)
        self._clusters.setVisible(at == 1)
        self.turned.emit(at == 1)

    def _build_neighbours(self, thumbnails: Thumbnails) -> None:
        self._neighbours = QWidget(self)
        self.title = QLabel(self)
        self.title.setProperty("wsss", "title")
        self.legend = QLabel(_BARS, self)
        self.legend.setToolTip(_CLAIM)
        self.legend.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        # In a narrow dock it is cut; it must not make the dock wider.
        self.legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.neighbours = Gallery("Neighbours of this image's prototype", thumbnails, bars=2, parent=self)
        self.rank = QSlider(Qt.Orientation.Horizontal, self)
        self.rank.setMinimumWidth(50)
        self.rank.setAccessibleName("Neighbour by weight")
        self.rank_text = QLabel(self)
        label = QLabel("By weight", self)
        label.setBuddy(self.rank)
        self.peaks = QCheckBox("Peaks", self)
        self.peaks.setChecked(True)
        self.peaks.setToolTip(
            "<p>At the stages Neighbours and Weighting: a point where each neighbour's map is highest. Point at one: its weight, "
            "cosine, cluster and epoch.</p>"
        )
        for widget in (label, self.rank, self.rank_text):
            widget.setToolTip(_RANK)
        head, line = QHBoxLayout(), QHBoxLayout()
        head.addWidget(self.title)
        head.addWidget(self.legend, 1)
        line.addWidget(label)
        line.addWidget(self.rank, 1)
        line.addWidget(self.rank_text)
        line.addWidget(self.peaks)
        column = _column(self._neighbours, 2)
        column.addLayout(head)
        column.addWidget(self.neighbours)
        column.addLayout(line)
        self.rank.valueChanged.connect(self.ranked)

    def _build_clusters(self, thumbnails: Thumbnails) -> None:
        self._clusters = QWidget(self)
        self.rounds = QComboBox(self)
        self.rounds.setAccessibleName("Round of clustering")
        self.rounds.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.rounds.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.rounds.setMinimumContentsLength(8)
        self.rounds.setToolTip(
            "<p>The prototypes of which epoch: each begins with clustering the bank anew. Runs of older versions kept the "
            "last round only.</p>"
        )
        self.round = note(self)
        self.sizes = Panel("Rows a prototype", _SIZES)
        self.sizes.setFixedHeight(112)
        self.sizes.plot.setMouseEnabled(False, False)
        self.size_bars = pg.BarGraphItem(x=[0], height=[0], width=0.01)
        self.sizes.plot.addItem(self.size_bars)
        self.shifts = Panel("Shift from epoch to epoch", _SHIFTS)
        self.shifts.setFixedHeight(112)
        self.shifts.plot.setMouseEnabled(False, False)
        self.shift_line = pg.PlotDataItem(symbol="o", symbolSize=6)
        self.shifts.plot.addItem(self.shift_line)
        self.grid = ClusterGrid(thumbnails, self)
        column = _column(self._clusters, 4)
        for widget in (self.rounds, self.round, self.sizes, self.shifts, self.grid):
            column.addWidget(widget)

    def _build_rows(self, thumbnails: Thumbnails) -> None:
        self.rows_title = QLabel(self)
        self.rows_title.setProperty("wsss", "title")
        self.rows_title.setToolTip(
            "<p>Rows of the bank that the prototype was made of, or that the lasso in the plot went round, each cut about "
            "where its seed lay. Click: pin it, evict it, or show its image.</p>"
        )
        self.rows = Gallery("Rows of the bank", thumbnails, parent=self)
        self.menu = QMenu(self)
        self.lasso = QWidget(self)
        self.evict_all, self.pin_all = QPushButton(self.lasso), QPushButton(self.lasso)
        self.let_go = QToolButton(self.lasso)
        self.let_go.setText("Let go")
        self.let_go.setProperty("wsss", "quiet")
        self.let_go.setToolTip("Take the lasso away and go back to the rows of a prototype")
        line = QHBoxLayout(self.lasso)
        line.setContentsMargins(0, 0, 0, 0)
        for button in (self.evict_all, self.pin_all):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            line.addWidget(button, 1)
        line.addWidget(self.let_go)


def _column(parent: QWidget, spacing: int) -> QVBoxLayout:
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    return column
