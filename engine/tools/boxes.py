"""Rectangles of pixels, and the two shapes in which a tool answers.

A `Region` says where, a `Change` says what stands there afterwards; both cover only their box,
so that the cost of an edit follows its size and not the size of the image. An empty answer has
the box (0, 0, 0, 0).
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "EMPTY",
    "Bools",
    "Box",
    "Change",
    "Image",
    "Mask",
    "Point",
    "Region",
    "changed",
    "cut",
    "full",
    "grown",
    "no_region",
    "spread",
    "tight",
]

Box: TypeAlias = tuple[int, int, int, int]
Bools: TypeAlias = npt.NDArray[np.bool_]
Mask: TypeAlias = npt.NDArray[np.uint8]
Image: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float]
Region: TypeAlias = tuple[Box, Bools]
Change: TypeAlias = tuple[Box, Mask]

_T = TypeVar("_T", bound=np.generic)

EMPTY: Box = (0, 0, 0, 0)


def full(shape: tuple[int, ...]) -> Box:
    """Return the box of a whole image of `shape` (H, W, ...)."""
    return 0, 0, int(shape[0]), int(shape[1])


def no_region() -> Region:
    """Return the region that holds no pixel."""
    return EMPTY, np.zeros((0, 0), bool)


def cut(array: npt.NDArray[_T], box: Box) -> npt.NDArray[_T]:
    """Return the part of `array` `[H, W, ...]` inside a box, as a view."""
    y0, x0, y1, x1 = box
    return array[y0:y1, x0:x1]


def grown(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    """Return a box with `by` px more on each side, cut off at the border of an image of `shape`."""
    y0, x0, y1, x1 = box
    return max(0, y0 - by), max(0, x0 - by), min(int(shape[0]), y1 + by), min(int(shape[1]), x1 + by)


def tight(region: Bools, origin: tuple[int, int] = (0, 0)) -> Region:
    """Return the smallest box around the True pixels, and the region in it.

    Args:
        region: `[h, w]` bool.
        origin: Row and column of its first pixel in the image.
    """
    rows = np.flatnonzero(region.any(axis=1))
    if not len(rows):
        return no_region()
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(region[y0:y1].any(axis=0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    return (origin[0] + y0, origin[1] + x0, origin[0] + y1, origin[1] + x1), region[y0:y1, x0:x1].copy()


def changed(mask: Mask, box: Box, after: Mask) -> Change:
    """Return the smallest change that does the same as writing `after` into `box` of `mask`.

    Args:
        mask: `[H, W]` uint8.
        box: Where.
        after: `[h, w]` uint8, of the box's size.
    """
    inner, _ = tight(cut(mask, box) != after, box[:2])
    y0, x0, y1, x1 = inner
    if inner == EMPTY:
        return EMPTY, np.zeros((0, 0), np.uint8)
    return inner, after[y0 - box[0] : y1 - box[0], x0 - box[1] : x1 - box[1]].copy()


def spread(change: tuple[Box, npt.NDArray[Any]], mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of `mask` `[H, W]` with a change written into it (a region into an array of bools)."""
    box, after = change
    out = mask.copy()
    cut(out, box)[...] = after
    return out
