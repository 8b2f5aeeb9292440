"""The random walk with the whole matrix in memory, as IRN's released code forms it, for benchmarks and tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.affinity import offsets, path_cells

__all__ = ["dense_transition", "dense_walk"]

Floats = NDArray[np.float32]


def dense_transition(edge: Floats, radius: int, beta: float) -> Floats:
    """Return [h*w, h*w]: 1 - the greatest of all gathered cells of each path, to the power, rows made means."""
    height, width = edge.shape
    count = height * width
    matrix = np.zeros((count, count), np.float32)
    flat, cells = edge.ravel(), np.arange(count).reshape(height, width)
    for dy, dx in offsets(radius):
        left, right = max(0, -dx), width - max(0, dx)
        here = cells[: max(0, height - dy), left : max(left, right)].ravel()  # [n]
        path = np.array([y * width + x for y, x in path_cells(dy, dx)])
        alike = 1 - flat[here[:, None] + path].max(1)  # [n]
        there = here + dy * width + dx
        matrix[here, there] = matrix[there, here] = alike
    np.power(matrix, beta, out=matrix)
    np.fill_diagonal(matrix, 1)
    matrix /= matrix.sum(1, keepdims=True)
    return matrix


def dense_walk(edge: Floats, maps: Floats, *, radius: int, beta: float, steps: int) -> Floats:
    """Return the maps [K, h, w] after the steps, one product with the whole matrix each."""
    matrix = dense_transition(edge, radius, beta)
    walked = maps.reshape(len(maps), -1)  # [K, N]
    for _ in range(steps):
        # Map by map: BLAS is slower at a product with so few columns at once.
        walked = np.stack([matrix @ row for row in walked])
    return walked.reshape(maps.shape)
