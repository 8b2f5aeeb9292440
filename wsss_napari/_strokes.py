"""A Labels layer that hands its strokes to somebody else; it touches private parts of napari.

Last checked with napari 0.9.2; tests/test_correction_layer.py pins what it relies on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from skimage.draw import polygon

from wsss_napari._compat import redraw_box, touch

__all__ = ["Box", "Painter", "StrokeLabels"]

#: y0, x0, y1, x1, half open, in px.
Box = tuple[int, int, int, int]


class Painter(Protocol):
    """Who owns the pixels that a `StrokeLabels` shows."""

    def bucket(self, point: tuple[int, int], contiguous: bool) -> tuple[Box, NDArray[np.bool_]]:
        """Return what the bucket fills when it is emptied at (y, x): a box and the pixels in it."""

    def dab(self, layer: Any, box: Box, region: NDArray[np.bool_], value: int, erase: bool) -> None:
        """Write into the layer's data what one touch of the brush changes."""

    def restore(self, layer: Any, box: Box) -> None:
        """Write what stands in a box into the layer's data again: the stroke was given up."""

    def stroke(self, tool: str, box: Box, region: NDArray[np.bool_], value: int, erase: bool) -> None:
        """Take all that was touched between pressing and letting go."""

    def foreign(self) -> None:
        """Take what something else wrote into the layer's data."""

    def travel(self, back: bool) -> None:
        """Undo, or redo."""


class StrokeLabels(Labels):  # type: ignore[misc]
    """A Labels layer with napari's own brush, bucket, polygon and eraser, whose pixels are somebody else's.

    What a hand does goes to the painter: each touch while it moves, and the whole stroke when it
    lets go. napari's undo history stays empty, so that its Ctrl+Z can never write the pixels of
    one image into another.

    Args:
        data: [H, W] uint8.
        painter: Who owns the pixels.
        options: What Labels take.
    """

    def __init__(self, data: NDArray[np.uint8], *, painter: Painter, **options: Any) -> None:
        self._painter = painter
        self._depth = 0
        self._deaf = False
        self._canvas: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)
        self._stroke: tuple[str, Box, int, bool] | None = None
        super().__init__(data, **options)

    @property
    def _type_string(self) -> str:
        # For icons and for saving it is what it is to people: labels.
        return "labels"

    @property
    def stroking(self) -> bool:
        """Whether a stroke has begun that is not finished."""
        return self._stroke is not None

    def paint(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        """Touch a disc of the brush's size."""
        y, x = (round(float(c)) for c in coord)
        reach = int(self.brush_size) // 2
        height, width = self.data.shape
        box = (max(y - reach, 0), max(x - reach, 0), min(y + reach + 1, height), min(x + reach + 1, width))
        if box[0] < box[2] and box[1] < box[3]:
            rows, columns = np.ogrid[box[0] - y : box[2] - y, box[1] - x : box[3] - x]
            # napari's own disc: half a pixel more, so that no point sticks out at its sides.
            self._dab(box, rows**2 + columns**2 <= (reach + 0.5) ** 2, new_label, refresh=refresh)

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Touch the inside of a polygon, its vertices included."""
        vertices = np.asarray(points, int)
        height, width = self.data.shape
        y0, x0 = np.maximum(vertices.min(axis=0), 0)
        y1, x1 = np.minimum(vertices.max(axis=0) + 1, (height, width))
        if y0 < y1 and x0 < x1:
            region = np.zeros((y1 - y0, x1 - x0), np.bool_)
            region[polygon(vertices[:, 0] - y0, vertices[:, 1] - x0, region.shape)] = True
            self._dab((int(y0), int(x0), int(y1), int(x1)), region, new_label)

    def fill(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        """Touch the piece under the cursor, or all pixels of its value."""
        y, x = (round(float(c)) for c in coord)
        height, width = self.data.shape
        # One bucket a stroke: napari would empty one at each move, into what the first one filled.
        if 0 <= y < height and 0 <= x < width and not self.stroking:
            box, region = self._painter.bucket((y, x), bool(self.contiguous))
            self._dab(box, region, new_label, refresh=refresh)

    def data_setitem(self, indices: Any, value: Any, refresh: bool = True) -> None:
        """Write pixels, as scripts and other plugins do, and tell the painter of it."""
        super().data_setitem(indices, value, refresh)
        self._painter.foreign()

    def undo(self) -> None:
        """Undo the newest step of the image."""
        self._painter.travel(True)

    def redo(self) -> None:
        """Redo the step undone last."""
        self._painter.travel(False)

    def settle(self) -> None:
        """Finish a stroke now; what the hand does until it lets go counts no more."""
        self._deaf = self._depth > 0
        self._finish()

    @contextmanager
    def block_history(self) -> Iterator[None]:
        """Group what is touched within into one stroke; napari's brush does so from press to release."""
        self._begin_stroke()
        try:
            yield
        finally:
            self._commit_stroke()

    def _begin_stroke(self) -> None:
        self._depth += 1

    def _commit_stroke(self) -> None:
        self._depth = max(self._depth - 1, 0)
        if not self._depth:
            self._deaf = False
            self._finish()

    def _abort_stroke(self) -> None:
        stroke, self._stroke, self._depth = self._stroke, None, 0
        if stroke is not None:
            self._painter.restore(self, stroke[1])
            self._wipe(stroke[1])
            redraw_box(self, stroke[1])

    def _dab(self, box: Box, region: NDArray[np.bool_], value: int, *, refresh: bool = True) -> None:
        if self._deaf or not self.editable or not region.size:
            return
        erase = str(self.mode) == "erase"
        if self._canvas.shape != self.data.shape:
            self._canvas = np.zeros(self.data.shape, np.bool_)
        self._canvas[box[0] : box[2], box[1] : box[3]] |= region
        if self._stroke is not None:
            b = self._stroke[1]
            whole = (min(b[0], box[0]), min(b[1], box[1]), max(b[2], box[2]), max(b[3], box[3]))
            self._stroke = (self._stroke[0], whole, value, erase)
        else:
            self._stroke = (str(self.mode), box, value, erase)
        self._painter.dab(self, box, region, value, erase)
        touch(self, box)
        if refresh:
            self._partial_labels_refresh()
        if not self._depth:
            self._finish()

    def _finish(self) -> None:
        stroke, self._stroke = self._stroke, None
        if stroke is None:
            return
        tool, box, value, erase = stroke
        region = self._canvas[box[0] : box[2], box[1] : box[3]].copy()
        self._wipe(box)
        self._painter.stroke(tool, box, region, value, erase)

    def _wipe(self, box: Box) -> None:
        self._canvas[box[0] : box[2], box[1] : box[3]] = False
