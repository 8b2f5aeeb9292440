"""Polygons of a region, in the two ways in which readers fill them.

COCO's polygons run along the edges of pixels: 3,2 6,2 6,5 3,5 is the columns 3 to 5 of the rows
2 to 4. OpenCV, supervision and Ultralytics fill polygons through the centres of pixels, border
included. A polygon of one kind read in the other way loses or gains a border.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["centre_polygons", "edge_polygons", "edge_rings", "fill_centres", "fill_edges"]

Points = NDArray[np.int64]
Region = NDArray[np.bool_]

_AT_ONCE = 1 << 15  # crossings of rows that are worked out together; few enough to stay in the cache


def edge_polygons(region: Region) -> list[Points]:
    """Return polygons along pixel edges that cover a region exactly and do not overlap.

    No polygon list of COCO can have holes: regions with holes are cut along rows, as few as
    open all holes.

    Args:
        region: `[h, w]` bool.

    Returns:
        `[n, 2]` int64 (x, y) in px each, n >= 4, without the first point again at the end.
    """
    polygons = []
    cuts = [0, *_cuts(region), len(region)]
    for top, bottom in pairwise(cuts):
        polygons += [ring + np.array((0, top)) for ring in edge_rings(region[top:bottom])]
    return polygons


def edge_rings(region: Region) -> list[Points]:
    """Return the outlines of the 4-connected parts of a region and of their holes, along pixel edges.

    Args:
        region: `[h, w]` bool.

    Returns:
        `[n, 2]` int64 (x, y) each: corners only, sides alternately along x and y.
    """
    padded = np.pad(region, 1)
    up_left, up_right = padded[:-1, :-1], padded[:-1, 1:]
    low_left, low_right = padded[1:, :-1], padded[1:, 1:]
    # An outline turns where one or three of the four pixels around a point belong to the region,
    # and two outlines meet where two do that touch at the point alone.
    turns = up_left ^ up_right ^ low_left ^ low_right
    falling = up_left & low_right & ~up_right & ~low_left
    rising = up_right & low_left & ~up_left & ~low_right
    y, x = np.nonzero(turns | falling | rising)
    twice = 1 + (falling | rising)[y, x]
    second = np.arange(twice.sum()) - np.repeat(np.cumsum(twice) - twice, twice)
    y, x = np.repeat(y, twice), np.repeat(x, twice)
    # Along each row of points the corners are joined in pairs, and along each column too. Where two
    # meet, the first is joined to the left; in a column it comes first if its pixel lies above.
    order = np.lexsort((np.where(rising[y, x], 1 - second, second), y, x))
    joined = np.empty(order.size, np.int64)
    joined[order[0::2]], joined[order[1::2]] = order[1::2], order[0::2]
    return [np.stack((x[ring], y[ring]), 1) for ring in _rings(joined.tolist())]


def _rings(vertical: list[int]) -> list[list[int]]:
    """Return the cycles of corners; corner i is joined to i ^ 1 along its row and to vertical[i]."""
    seen = bytearray(len(vertical))
    rings = []
    for start in range(0, len(vertical), 2):
        if seen[start]:
            continue
        ring: list[int] = []
        corner = start
        while True:
            ring += (corner, corner ^ 1)
            seen[corner] = seen[corner ^ 1] = 1
            corner = vertical[corner ^ 1]
            if corner == start:
                break
        rings.append(ring)
    return rings


def _cuts(region: Region) -> list[int]:
    """Return the rows before which a region is cut so that every hole touches a cut."""
    if region.all():
        return []
    # The region is 4-connected, so what surrounds it is 8-connected.
    empty, _ = ndimage.label(~np.pad(region, 1), np.ones((3, 3), bool))
    around = empty[0, 0]
    rows = [
        (box[0].stop - 1, box[0].start - 1)
        for number, box in enumerate(ndimage.find_objects(empty), 1)
        if number != around
    ]
    cuts = [0]
    for bottom, top in sorted(rows):
        if top > cuts[-1]:
            cuts.append(bottom)
    return cuts[1:]


def centre_polygons(region: Region) -> list[Points]:
    """Return one polygon through pixel centres for each 8-connected part of a region.

    Filled by OpenCV, border included, it is the part exactly. A hole hangs on the outline by a
    bridge of no width along a row, which lies inside the part.

    Args:
        region: `[h, w]` bool.

    Returns:
        `[n, 2]` int64 (x, y) in px each, n >= 3; parts of one or two pixels repeat a point.
    """
    rings, tree = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes: dict[int, list[Points]] = {}
    outlines: dict[int, Points] = {}
    for number, ring in enumerate(rings):
        points = ring[:, 0].astype(np.int64)
        parent = int(tree[0, number, 3])
        if parent < 0:
            outlines[number] = points
        else:
            holes.setdefault(parent, []).append(points)
    return [_corners(_bridged(outline, holes.get(n, []), region)) for n, outline in outlines.items()]


def _bridged(outline: Points, holes: list[Points], region: Region) -> Points:
    """Return one closed walk along the outline and the rims of the holes, bridges walked to and fro."""
    walk = outline
    # A bridge leads left from the leftmost point of a rim. What it meets is the outline or the rim of a
    # hole that lies further left, which is part of the walk by then.
    for rim in sorted(holes, key=lambda r: int(r[:, 0].min())):
        start = int(rim[:, 0].argmin())
        x, y = rim[start]
        gaps = np.flatnonzero(~region[y, :x])
        end = int(gaps[-1]) + 1 if gaps.size else 0
        at = int(np.flatnonzero((walk[:, 0] == end) & (walk[:, 1] == y))[0])
        around = np.concatenate((rim[start:], rim[: start + 1]))
        walk = np.concatenate((walk[: at + 1], around, walk[at:]))
    return walk


def _corners(walk: Points) -> Points:
    """Return a closed walk without the points between which it goes straight on, three at least."""
    moved = np.any(np.roll(walk, -1, 0) != walk, 1)
    if not moved.any():
        return np.resize(walk[:1], (3, 2))
    walk = walk[moved]
    ahead = np.sign(np.roll(walk, -1, 0) - walk)
    kept = walk[np.any(ahead != np.roll(ahead, 1, 0), 1)]
    return kept if len(kept) > 2 else np.resize(kept, (3, 2))


def fill_edges(points: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, Region]:
    """Fill a polygon along pixel edges: the pixels whose centres lie inside, by the even-odd rule.

    Args:
        points: `[n, 2]` float64 (x, y) in px; what lies outside the image is cut off.
        size: (H, W) of the image in px.

    Returns:
        Top row, left column, and `[h, w]` bool from there on.
    """
    height, width = size
    x, y = points.T
    x_next, y_next = np.concatenate((points[1:], points[:1])).T
    low = np.ceil(np.minimum(y, y_next) - 0.5).clip(0, height).astype(np.int64)
    high = np.ceil(np.maximum(y, y_next) - 0.5).clip(0, height).astype(np.int64)
    sides = np.flatnonzero(high > low)
    if not sides.size:
        return 0, 0, np.zeros((0, 0), bool)
    low, counts = low[sides], (high - low)[sides]
    slope = (x_next - x)[sides] / (y_next - y)[sides]
    # Where a side crosses the middle of row r: at + r * slope.
    at = x[sides] + (0.5 - y[sides]) * slope
    top = int(low.min())
    left, right = (int(np.ceil(end - 0.5).clip(0, width)) for end in (x.min(), x.max()))
    shape = (int(high.max()) - top, right - left + 1)
    hits = np.zeros(shape[0] * shape[1], np.uint8)  # how often, modulo 256, which keeps odd and even
    for some in _chunks(counts):
        side = np.repeat(np.arange(some.start, some.stop), counts[some])
        before = np.cumsum(counts[some]) - counts[some]
        rows = np.arange(side.size) + np.repeat(low[some] - before, counts[some])
        columns = np.ceil(at[side] + rows * slope[side] - 0.5).clip(left, right)
        np.add.at(hits, (rows - top) * shape[1] + (columns.astype(np.int64) - left), np.uint8(1))
    inside = np.logical_xor.accumulate((hits.reshape(shape) & 1).view(bool), axis=1)
    return top, left, inside[:, :-1]


def _chunks(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of the sides with few crossings each: all at once take gigabytes in files made to."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def fill_centres(points: Points, mask: NDArray[np.uint8], value: int) -> None:
    """Fill a polygon through pixel centres with a value, its border included, as OpenCV does.

    Args:
        points: `[n, 2]` int64 (x, y) in px.
        mask: `[H, W]` uint8, changed in place.
        value: What is filled in.
    """
    cv2.fillPoly(mask, [points.astype(np.int32).reshape(-1, 1, 2)], value)
