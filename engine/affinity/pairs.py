"""How alike the two cells of each pair are: by the boundary between them, or by their features."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.affinity.paths import offsets, path_runs, sources

__all__ = ["feature_affinity", "neighbours", "path_affinity"]

Floats: TypeAlias = NDArray[np.float32]

_CHANNELS = 16  # at once: a block of them stays in the processor's second cache


def path_affinity(edge: NDArray[np.floating], radius: int = 5) -> Floats:
    """Return 1 - the greatest edge on the path between the two cells of each pair (IRN, eq. 5).

    Args:
        edge: [h, w] float in [0, 1], probability of a class boundary.
        radius: Cells; pairs are nearer than this.

    Returns:
        [D, h, w] float32 in [0, 1], of a cell and the one at `offsets(radius)[D]` from it; 0 where that
        lies outside the grid.
    """
    if edge.ndim != 2:
        raise ValueError(f"an edge map of shape {edge.shape}")
    pairs = offsets(radius)
    out = np.zeros((len(pairs), *edge.shape), np.float32)
    passable = _running(np.subtract(1, edge, dtype=np.float32), radius)
    for n, (dy, dx) in enumerate(pairs):
        ys, xs = sources(edge.shape, dy, dx)
        axis, runs = path_runs(dy, dx)
        # A path lies in the box of its ends: where both are inside, no run leaves the grid.
        parts = [
            passable[axis][length][ys.start + y : ys.stop + y, xs.start + x : xs.stop + x]
            for y, x, length in runs
        ]
        target = out[n, ys, xs]
        np.minimum(parts[0], parts[-1], out=target)
        for part in parts[1:-1]:
            np.minimum(target, part, out=target)
    return out


def feature_affinity(features: NDArray[np.floating], radius: int = 5) -> Floats:
    """Return exp(-mean over channels of |f_i - f_j|) of each pair (PSA, eq. 2, with the mean of its code).

    Args:
        features: [C, h, w] float.
        radius: Cells; pairs are nearer than this.

    Returns:
        [D, h, w] float32 in [0, 1], of a cell and the one at `offsets(radius)[D]` from it; 0 where that
        lies outside the grid.
    """
    if features.ndim != 3 or not len(features):
        raise ValueError(f"features of shape {features.shape}")
    pairs = offsets(radius)
    size = (features.shape[1], features.shape[2])
    out = np.zeros((len(pairs), *size), np.float32)
    for start in range(0, len(features), _CHANNELS):
        block = np.asarray(features[start : start + _CHANNELS], np.float32)
        for n, (dy, dx) in enumerate(pairs):
            ys, xs = sources(size, dy, dx)
            there = block[:, ys.start + dy : ys.stop + dy, xs.start + dx : xs.stop + dx]
            apart = block[:, ys, xs] - there
            out[n, ys, xs] += np.abs(apart, out=apart).sum(0)
    for n, (dy, dx) in enumerate(pairs):
        near = out[n][sources(size, dy, dx)]
        near /= -len(features)
        np.exp(near, out=near)
    return out


def neighbours(affinity: NDArray[np.floating], radius: int, y: int, x: int) -> Floats:
    """Return how alike one cell and each around it are.

    Args:
        affinity: [D, h, w] float, from `path_affinity` or `feature_affinity`.
        radius: That of the affinity.
        y, x: The cell.

    Returns:
        [2 radius - 1, 2 radius - 1] float32: 1 in the middle, the cell itself; NaN beyond the radius and
        outside the grid.
    """
    _, height, width = affinity.shape
    if not (0 <= y < height and 0 <= x < width):
        raise IndexError(f"cell ({y}, {x}) of a grid of {height} x {width}")
    patch = np.full((2 * radius - 1, 2 * radius - 1), np.nan, np.float32)
    middle = radius - 1
    patch[middle, middle] = 1
    for n, (dy, dx) in enumerate(offsets(radius)):
        if y + dy < height and 0 <= x + dx < width:
            patch[middle + dy, middle + dx] = affinity[n, y, x]
        if y - dy >= 0 and 0 <= x - dx < width:
            patch[middle - dy, middle - dx] = affinity[n, y - dy, x - dx]
    return patch


def _running(values: Floats, longest: int) -> tuple[list[Floats], list[Floats]]:
    """Return the least of every run of n cells [h, w], n < = `longest`, downwards and to the right.

    Element [axis][n][y, x] is that of the run from (y, x) on; the last n - 1 along the axis are missing.
    """
    down, right = [values, values], [values, values]
    for n in range(2, longest + 1):
        down.append(np.minimum(down[-1][:-1], values[n - 1 :]))
        right.append(np.minimum(right[-1][:, :-1], values[:, n - 1 :]))
    return down, right
