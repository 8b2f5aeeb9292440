"""Threshold brush: accept what the method says under the brush. And the band of scores that become unsure."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from engine.params import Field
from engine.tools import brush, cut, from_band, threshold_brush, tight
from wsss_napari.correct_tool import Point, Tool
from wsss_napari.correct_tool_preview import Trail, tinted
from wsss_napari.correct_tool_reach import NO_MAPS, Reach
from wsss_napari.histogram import Histogram
from wsss_napari.palette import UNSURE, stripes

__all__ = ["BandTool", "ThresholdTool"]

_SHARE = 0.3
_BAND = (0.2, 0.35)
_BINS = 64
_BARS = "#8A8F98"  # all classes together: no class's colour


class ThresholdTool(Tool):
    """Paints the class where its map is above a threshold, and clears it where it is not."""

    NAME: ClassVar[str] = "threshold"
    TITLE: ClassVar[str] = "Threshold brush"
    TIP: ClassVar[str] = "Paint: under the brush the class is taken where its map is above the threshold."
    CURSOR: ClassVar[str] = "circle"
    BRUSH: ClassVar[bool] = True

    def __init__(self, reach: Reach, parent: QWidget) -> None:
        super().__init__(reach, parent)
        self.threshold = self.options.number(
            "Threshold",
            Field("threshold", "float", _SHARE, "", low=0, high=1),
            "A pixel under the brush becomes the class where m > t: m is the map of the class, t this threshold",
        )
        self.others = self.options.check(
            "Clear other classes below it too",
            "Where the map is below the threshold, pixels of other classes become background as well. "
            "Off: the map of one class says nothing of the others.",
        )
        self._path: list[Point] = []
        self._trail: Trail | None = None

    def missing(self) -> str:
        return self.reach.no_map(self.reach.cls)

    def pressed(self, point: Point, modifiers: frozenset[str]) -> bool:
        self._path = [point]
        self._trail = Trail(self.reach.mask.shape)
        self._cover([point])
        return True

    def dragged(self, point: Point) -> None:
        self._cover([self._path[-1], point])
        self._path.append(point)

    def released(self) -> None:
        cls = self.reach.cls
        scores = self.reach.scores(cls)
        path, diameter = self._path, self._diameter
        self.reset()
        if cls is None or scores is None:
            return
        share, others = float(self.threshold.read()), bool(self.others.isChecked())
        box, after = threshold_brush(
            self.reach.mask, scores, share, cls + 1, path, diameter, over_others=others
        )
        name = f"Threshold brush: {self.reach.word(cls + 1)}"
        self.reach.replace(
            name, self.NAME, box, after, {"threshold": share, "diameter": diameter, "over_others": others}
        )

    def reset(self) -> None:
        super().reset()
        self._path, self._trail = [], None

    @property
    def _diameter(self) -> int:
        return int(self.correction.layer.brush_size)

    def _cover(self, way: list[Point]) -> None:
        """Show what the last stretch of the brush accepts; the whole way is looked at when it ends."""
        cls, trail = self.reach.cls, self._trail
        scores = self.reach.scores(cls)
        if cls is None or scores is None or trail is None:
            return
        box, region = brush(scores.shape, way, self._diameter)
        trail.add(box, region & (cut(scores, box) > float(self.threshold.read())))
        self.reach.preview.show(trail.box, tinted(trail.region, self.reach.colour(cls + 1)))


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
