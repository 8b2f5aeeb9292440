"""Unsure band: what the maps cannot decide, scores between two handles, becomes unsure."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.tools import from_band, tight
from wsss_napari.correct_tool import Tool
from wsss_napari.correct_tool_preview import tinted
from wsss_napari.correct_tool_reach import NO_MAPS, Reach
from wsss_napari.histogram import Histogram
from wsss_napari.palette import UNSURE, stripes

__all__ = ["BandTool"]

_BAND = (0.2, 0.35)
_BINS = 64
_BARS = "#8A8F98"  # all classes together: no class's colour


class BandTool(Tool):
    """Makes unsure what the maps cannot decide: scores between two handles."""

    NAME: ClassVar[str] = "band"
    TITLE: ClassVar[str] = "Unsure band"
    TIP: ClassVar[str] = (
        "Move the two handles: pixels whose best class score lies between them would become unsure."
    )
    CURSOR: ClassVar[str] = "standard"

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.histogram = Histogram(self.options)
        self.histogram.setAccessibleName("Unsure band")
        self.histogram.setToolTip(
            "Best class score m of each pixel. Unsure (255) where low < m <= high: training and measuring leave it out."
        )
        self.histogram.set_handles(*_BAND, band=True)
        self.histogram.moved.connect(lambda _low, _high: self._show())
        self.options.grid.addWidget(self.histogram, 0, 0, 1, 2)
        (self.make,) = self.options.buttons(
            ("Make it unsure", "Paint unsure what is hatched on the image (Enter)", self.finish)
        )
        self._best: NDArray[np.float32] | None = None

    @property
    def band(self) -> tuple[float, float]:
        """(low, high) of the handles."""
        return float(self.histogram.low), float(self.histogram.high)

    def missing(self) -> str:
        stack = self.correction.stack
        return NO_MAPS if stack is None or not stack.classes else ""

    def refresh(self) -> None:
        if not self.awake or self.correction.sheet is None:
            return
        self._best = None if self.missing() else self.reach.best()
        self.make.setEnabled(self._best is not None)
        if self._best is None:
            self.histogram.set_scores(np.zeros((0, _BINS)), [])
            self.reach.preview.clear()
            return
        counts, _ = np.histogram(self._best, _BINS, (0, 1))
        self.histogram.set_scores(counts[None], [_BARS])
        self._show()

    def reset(self) -> None:
        super().reset()
        self._best = None

    def finish(self) -> None:
        why = self.reach.forbidden or self.missing()
        if why or self._best is None:
            self.reach.said.emit(why)
            return
        low, high = self.band
        box, region = from_band(self._best, low, high)
        self.reach.paint("Unsure band", self.NAME, box, region, UNSURE, {"low": low, "high": high})

    def _show(self) -> None:
        best = self._best
        if best is None or not self.awake:
            return
        region = (best > self.band[0]) & (best <= self.band[1])
        box, inner = tight(region)
        if not inner.size:
            self.reach.preview.clear()
            return
        hatch = stripes(*best.shape)[box[0] : box[2], box[1] : box[3]].astype(bool)
        pixels = tinted(inner, "#FFFFFF", 190)
        pixels[inner & hatch] = (20, 20, 20, 190)
        self.reach.preview.show(box, pixels)
