"""Threshold brush: paint with what the method says under the brush, and the confidence band.

The brush does not set a value; it accepts the method's decision at a threshold of its own, so a
person can follow a map where it is right without moving the threshold of the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.labels import UNSURE
from engine.tools.boxes import Box, Change, Mask, Point, Region, changed, cut, full, no_region, tight

__all__ = ["brush", "from_band", "threshold_brush"]


def brush(shape: tuple[int, int], points: Sequence[Point], diameter: float) -> Region:
    """Return the pixels that a round brush covers on its way through the points.

    A pixel belongs to it when its centre is at most half a diameter from the way; a brush
    of 1 px or less covers exactly the pixels that the way runs through.

    Args:
        shape: (H, W) of the image.
        points: (y, x) in px, pixel centres at whole numbers; joined by straight lines.
        diameter: In px, above 0.
    """
    if not points:
        return no_region()
    reach = max(diameter, 1.0) / 2
    path = np.asarray(points, np.float64).reshape(-1, 2)
    low, high = path.min(axis=0) - reach, path.max(axis=0) + reach
    y0, x0 = (max(0, int(np.floor(v))) for v in low)
    y1, x1 = (min(n, int(np.ceil(v)) + 1) for n, v in zip(shape, high, strict=True))
    if y0 >= y1 or x0 >= x1:
        return no_region()
    region = np.zeros((y1 - y0, x1 - x0), bool)
    starts = path[:-1] if len(path) > 1 else path
    ends = path[1:] if len(path) > 1 else path
    for start, end in zip(starts, ends, strict=True):
        _stroke(region, start - (y0, x0), end - (y0, x0), reach)
    return tight(region, (y0, x0))


def threshold_brush(
    mask: Mask,
    scores: npt.NDArray[Any],
    threshold: float,
    value: int,
    points: Sequence[Point],
    diameter: float,
    *,
    background: int = 0,
    over_others: bool = False,
) -> Change:
    """Accept the method's region of a class under the brush.

    Args:
        mask: `[H, W]` uint8.
        scores: `[H, W]` float in [0, 1], the map of the class.
        threshold: A score above it is the class, as everywhere (a tie is background).
        value: The class's value in the mask.
        points: The way of the brush, as of `brush`.
        diameter: In px.
        background: What stands where the score is not above the threshold.
        over_others: Whether pixels of other classes become background there too. By default
            the brush of one class leaves them: its map knows nothing of theirs.

    Returns:
        The change, before any edit mask.
    """
    _like(mask, scores)
    box, region = brush((mask.shape[0], mask.shape[1]), points, diameter)
    before, score = cut(mask, box), cut(scores, box)
    inside = score > threshold
    clears = ~inside if over_others else ~inside & ((before == value) | (before == UNSURE))
    after = np.where(region & inside, np.uint8(value), before)
    return changed(mask, box, np.where(region & clears, np.uint8(background), after))


def from_band(scores: npt.NDArray[Any], low: float, high: float, box: Box | None = None) -> Region:
    """Return the pixels whose score lies in the ignore band: low < score <= high.

    Args:
        scores: `[H, W]` float in [0, 1], the best class score of each pixel.
        low: Up to it, itself included, is background.
        high: Above it is a class.
        box: Where to look; everywhere when None.
    """
    where = full(scores.shape) if box is None else box
    inner = cut(scores, where)
    return tight((inner > low) & (inner <= high), where[:2])


def _stroke(
    region: npt.NDArray[np.bool_], start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], reach: float
) -> None:
    """Set the pixels at most `reach` from the segment; only the segment's own box is looked at."""
    height, width = region.shape
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    y0, x0 = max(0, int(np.floor(low[0]))), max(0, int(np.floor(low[1])))
    y1, x1 = min(height, int(np.ceil(high[0])) + 1), min(width, int(np.ceil(high[1])) + 1)
    if y0 >= y1 or x0 >= x1:
        return
    y = np.arange(y0, y1)[:, None] - start[0]
    x = np.arange(x0, x1)[None, :] - start[1]
    dy, dx = end - start
    length = dy * dy + dx * dx
    along = np.clip((y * dy + x * dx) / length, 0, 1) if length > 0 else np.zeros((1, 1))
    region[y0:y1, x0:x1] |= (y - along * dy) ** 2 + (x - along * dx) ** 2 <= reach * reach + 1e-9


def _like(mask: Mask, scores: npt.NDArray[Any]) -> None:
    if scores.shape != mask.shape:
        raise ValueError(f"scores of {scores.shape} for a mask of {mask.shape}")
