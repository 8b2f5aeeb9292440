"""The random walk's transition matrix, built row by row from the affinities of pairs."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from engine.affinity.paths import offsets, sources

__all__ = ["BORDERS", "transition"]

BORDERS = ("full", "official")

# Less than this a walk of 256 steps over 69 cells cannot carry into float32's last digit, and zeros keep
# subnormal numbers, which processors take a hundred times as long for, out of the products.
_NOTHING = 1e-12
# Rows of the matrix at once: they and what is made of them stay in the processor's second cache.
_BLOCK = 1 << 10


def transition(
    affinity: NDArray[np.floating], radius: int, *, beta: float, border: str = "full"
) -> scipy.sparse.csr_array:
    """Return D^-1 A, A_ij = a_ij^beta symmetric with unit diagonal, D_i = sum_j A_ij (PSA, eq. 7 and 8).

    The reference codes multiply row vectors by A D^-1, which is the same: A is symmetric.

    Args:
        affinity: [D, h, w] float in [0, 1], of a cell and the one at `offsets(radius)[D]` from it.
        radius: That of the affinity.
        beta: Exponent; 10 for IRN, 8 for PSA.
        border: `full`: every pair inside the grid. `official`: as PSA's code, which takes no pairs from cells
            of the radius - 1 columns at the left and right and rows at the bottom: two cells there are
            unconnected.

    Returns:
        [h*w, h*w] float32 CSR with sorted indexes; rows sum to 1; affinities below 1e-12 are 0 and not stored.
    """
    pairs = offsets(radius)
    if affinity.ndim != 3 or len(affinity) != len(pairs):
        raise ValueError(f"affinities {affinity.shape} for the {len(pairs)} pairs of radius {radius}")
    if border not in BORDERS:
        raise ValueError(f"border {border!r}; there are {', '.join(BORDERS)}")
    table = _table(affinity, radius, beta, border)
    table /= table.sum(0, dtype=np.float64)
    return _compressed(table.reshape(len(table), -1), _shifts(radius, affinity.shape[2]))


def _table(affinity: NDArray[np.floating], radius: int, beta: float, border: str) -> NDArray[np.float32]:
    """Return A, [2 D + 1, h, w]: of each cell the affinity to all around it, in the order of their indexes."""
    pairs = offsets(radius)
    _, height, width = affinity.shape
    table = np.zeros((2 * len(pairs) + 1, height, width), np.float32)
    table[len(pairs)] = 1
    for n, (dy, dx) in enumerate(pairs):
        ys, xs = sources((height, width), dy, dx)
        here = table[len(pairs) + 1 + n, ys, xs]
        np.power(affinity[n, ys, xs], beta, out=here, dtype=np.float32, casting="same_kind")
        here[here < _NOTHING] = 0
        if border == "official":
            side = radius - 1
            here[max(0, height - side) :] = 0
            here[:, : max(0, side - xs.start)] = 0
            here[:, max(0, width - side - xs.start) :] = 0
        table[len(pairs) - 1 - n, ys.start + dy : ys.stop + dy, xs.start + dx : xs.stop + dx] = here
    return table


def _shifts(radius: int, width: int) -> NDArray[np.int32]:
    """Return [2 D + 1] ascending for rows wider than a radius: how far a neighbour's index is from a cell's."""
    half = np.array([dy * width + dx for dy, dx in offsets(radius)], np.int32)
    return np.concatenate([-half[::-1], np.zeros(1, np.int32), half])


def _compressed(table: NDArray[np.float32], shifts: NDArray[np.int32]) -> scipy.sparse.csr_array:
    """Return the entries of `table` [2 D + 1, N] above 0 as CSR, the k-th at `shifts[k]` from the diagonal."""
    count = table.shape[1]
    starts = np.zeros(count + 1, np.int32)
    np.cumsum(np.count_nonzero(table, axis=0), out=starts[1:])
    data, indices = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        rows = np.ascontiguousarray(table[:, begin:end].T)  # [n, 2 D + 1]
        stored = rows > 0
        part = slice(starts[begin], starts[end])
        data[part] = rows[stored]
        indices[part] = (np.arange(begin, end, dtype=np.int32)[:, None] + shifts)[stored]
    return scipy.sparse.csr_array((data, indices, starts), shape=(count, count))
