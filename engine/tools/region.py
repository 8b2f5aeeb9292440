"""The connected piece under a click, of a mask, of a set of pixels or of a map above a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from engine.tools.boxes import Bools, Point, Region, full, grown, no_region, tight

__all__ = ["component", "component_above", "pixel_of"]

# Neighbours share an edge: a diagonal link would join two shapes that touch at a corner, and
# leave it open which of them a click meant.
_EDGES = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def pixel_of(point: Point, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the pixel under a point (y, x), pixel centres at whole numbers; None beside the image."""
    y, x = int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))
    return (y, x) if 0 <= y < shape[0] and 0 <= x < shape[1] else None


def component(values: npt.NDArray[Any], point: Point) -> Region:
    """Return the connected piece under a point.

    Args:
        values: `[H, W]`; of bools the piece that is True, of numbers the piece of the value
            under the point (background and unsure included).
        point: (y, x) in px.

    Returns:
        The region; empty beside the image and on a False pixel.
    """
    pixel = pixel_of(point, values.shape)
    if pixel is None:
        return no_region()
    if values.dtype == bool:
        if not values[pixel]:
            return no_region()
        return _flood(values, pixel)
    return _flood(values == values[pixel], pixel)


def component_above(scores: npt.NDArray[Any], point: Point, threshold: float) -> Region:
    """Return the connected piece under a point whose scores exceed a threshold.

    Args:
        scores: `[H, W]` float in [0, 1].
        point: (y, x) in px.
        threshold: A score above it counts; a tie does not.
    """
    return component(np.asarray(scores > threshold), point)


def _flood(region: Bools, pixel: tuple[int, int]) -> Region:
    """Return the piece of `region` that holds `pixel`, looking no further than it reaches."""
    # Labelling a window that doubles until the piece stays inside costs what the piece
    # costs, not what the image does: most clicks are on something small.
    whole = full(region.shape)
    y, x = pixel
    reach = 64
    while True:
        box = grown((y, x, y + 1, x + 1), reach, region.shape)
        y0, x0, y1, x1 = box
        labels, _ = ndimage.label(region[y0:y1, x0:x1], _EDGES)
        piece = np.asarray(labels == labels[y - y0, x - x0])
        open_sides = (
            (y0 > 0 and piece[0].any())
            or (x0 > 0 and piece[:, 0].any())
            or (y1 < whole[2] and piece[-1].any())
            or (x1 < whole[3] and piece[:, -1].any())
        )
        if not open_sides:
            return tight(piece, (y0, x0))
        reach *= 4
