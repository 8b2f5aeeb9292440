"""Where a person acts next: the click rule of the interactive-segmentation literature, and strokes.

The rule (Sofiiuk et al., "Reviving iterative training with mask guidance", 2022, and its code): of
the pixels that lack the class and those that have it wrongly, the one that lies deepest in its
region is clicked; never the same pixel twice; void pixels are no error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import route_through_array

__all__ = ["Aim", "error_stroke", "next_aim"]

Bools = NDArray[np.bool_]
_EDGES = np.ones((3, 3), bool)


class Aim(NamedTuple):
    """A place to act at.

    Attributes:
        point: (y, x) px.
        positive: Whether the class is missing there; else it stands there wrongly.
        region: [H, W] bool, the connected error around it.
        depth: Distance of the deepest pixel from the region's border, px.
    """

    point: tuple[int, int]
    positive: bool
    region: Bools
    depth: float


def next_aim(
    mask: NDArray[np.uint8], truth: NDArray[np.uint8], value: int, visited: Bools, jitter: NDArray[np.float64]
) -> Aim | None:
    """Return where to act next on one class, or None where nothing is left to mend.

    Args:
        mask, truth: [H, W] uint8; 255 in the truth is void.
        value: The class's value in both.
        visited: [H, W] bool, pixels that were clicked.
        jitter: (dy, dx) px by which the hand misses the pixel meant.
    """
    valid = truth != 255
    has, wanted = mask == value, truth == value
    missing, wrong = wanted & ~has, has & ~wanted & valid
    depths = [_depth(region) for region in (missing, wrong)]
    tops = [float(np.max(depth, initial=0, where=~visited)) for depth in depths]
    best = int(tops[1] >= tops[0])  # a tie is an error too many, as in the code of the rule
    if not tops[best]:
        return None
    depth, region = depths[best], (missing, wrong)[best]
    meant = np.unravel_index(int(np.argmax(np.where(visited, 0, depth))), mask.shape)
    labels, _ = ndimage.label(region, _EDGES)
    around = np.asarray(labels == labels[meant])
    limit = np.array(mask.shape) - 1
    y, x = np.clip(np.rint(np.array(meant) + jitter), 0, limit).astype(int)
    if not valid[y, x]:
        y, x = meant  # nobody clicks where nothing is asked
    return Aim((int(y), int(x)), best == 0, around, float(depth[meant]))


def error_stroke(aim: Aim, reach: float = 0.7) -> tuple[list[tuple[float, float]], float, float]:
    """Return a stroke that paints most of an error and little else: points, length and diameter in px.

    It runs along the middle of the error's long axis, with a pen that fits at its deepest place.

    Args:
        aim: The error.
        reach: Width of the pen as a share of what just fits.
    """
    radius = max(reach * aim.depth, 0.5)
    depth = _depth(aim.region)
    core, _ = ndimage.label(depth >= radius, _EDGES)
    deepest = np.unravel_index(int(depth.argmax()), depth.shape)
    inside = core == core[deepest]
    offset = np.array(aim.point) - deepest if not aim.region[aim.point] else np.zeros(2)
    first = _farthest(inside, (int(deepest[0]), int(deepest[1])))
    last = _farthest(inside, first)
    # Deep pixels are cheap, so that the way keeps to the middle.
    costs = np.where(inside, 1 / np.maximum(depth, 0.5), 1e6)
    path, _ = route_through_array(costs, first, last, fully_connected=True, geometric=True)
    way = np.asarray(path, np.float64)[:: max(1, int(radius))] + offset
    length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
    return [(float(y), float(x)) for y, x in way], length, 2 * radius


def _depth(region: Bools) -> NDArray[np.float64]:
    """Return the distance to the border of a region; the border of the image is one."""
    if not region.any():
        return np.zeros(region.shape)
    return np.asarray(ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1], np.float64)


def _farthest(region: Bools, start: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel of a region that lies farthest from another one, as the crow flies."""
    rows, columns = np.nonzero(region)
    k = int(np.argmax((rows - start[0]) ** 2 + (columns - start[1]) ** 2))
    return int(rows[k]), int(columns[k])
