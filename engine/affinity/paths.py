"""Pairs of cells within a radius, and the cells that the path between two of them crosses.

Source: Ahn, Cho and Kwak, IRN (CVPR 2019), section 3.3; pairs of half a plane stand for both directions.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

__all__ = ["Cell", "Runs", "offsets", "path_cells", "path_runs", "sources"]

Cell: TypeAlias = tuple[int, int]
Runs: TypeAlias = tuple[int, tuple[tuple[int, int, int], ...]]

_FARTHEST = 64  # cells; more would be millions of pairs for a cell


@functools.cache
def offsets(radius: int) -> tuple[Cell, ...]:
    """Return the (dy, dx) with 0 < dy^2 + dx^2 < radius^2 of half the plane, row by row.

    A cell's pairs are these and their opposites: 34 for radius 5, 152 for radius 10.

    Raises:
        ValueError: The radius is not from 2 to 64.
    """
    if not 2 <= radius <= _FARTHEST:
        raise ValueError(f"a radius of {radius} cells; 2 to {_FARTHEST} are possible")
    return tuple(
        (dy, dx)
        for dy in range(radius)
        for dx in range(1 - radius if dy else 1, radius)
        if dy * dy + dx * dx < radius * radius
    )


@functools.cache
def path_cells(dy: int, dx: int) -> tuple[Cell, ...]:
    """Return the (y, x) of the box from (0, 0) to (dy, dx) less than 1 from the line between them.

    Both ends are among them; the line is thick, so that a wall of one cell in a diagonal stops it.
    """
    reach = dy * dy + dx * dx
    return tuple(
        (y, x)
        for y in range(min(0, dy), max(0, dy) + 1)
        for x in range(min(0, dx), max(0, dx) + 1)
        # The distance to the line is |cross product| / length; in whole numbers nothing is rounded.
        if (dy * x - dx * y) ** 2 < reach or reach == 0
    )


@functools.cache
def path_runs(dy: int, dx: int) -> Runs:
    """Return a path as few straight runs of cells, so that its extreme is that of few running extremes.

    Returns:
        (axis, ((y, x, length), ...)): runs of `length` cells from (y, x) on, downwards for axis 0,
        to the right for axis 1; min(|dy|, |dx|) + 1 of them.
    """
    axis = 0 if abs(dy) > abs(dx) else 1
    lines: dict[int, list[Cell]] = {}
    for cell in path_cells(dy, dx):
        lines.setdefault(cell[1 - axis], []).append(cell)
    # A line thinner than its box is convex: the cells of one row or column have no gaps.
    return axis, tuple((*min(cells), len(cells)) for _, cells in sorted(lines.items()))


def sources(size: tuple[int, ...], dy: int, dx: int) -> tuple[slice, slice]:
    """Return the cells of a grid (h, w) whose other end at (dy >= 0, dx) lies inside it."""
    height, width = size
    left = min(max(0, -dx), width)
    return slice(0, max(0, height - dy)), slice(left, max(left, width - max(0, dx)))
