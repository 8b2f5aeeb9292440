"""The random walk T^t x by Chebyshev polynomials of T, for many t at once.

Source: Sachdeva and Vishnoi, "Faster algorithms via approximation theory" (2014), section 3: with T_j the
Chebyshev polynomials, z^t = sum over j of c_tj T_j(z) exactly, where c_tj is the chance that t fair steps of
+1 or -1 end j from the start, to either side. Beyond j ~ sqrt(2 t ln(2 / eps)) all of them together are
below eps: 256 steps cost some 80 products with T. It holds for every matrix that is similar to a symmetric
one with eigenvalues in [-1, 1], as D^-1 A is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["barrier", "changes", "powers", "walk", "weights_of", "within"]

Floats: TypeAlias = NDArray[np.float32]

EPSILON = 1e-7  # share of the maps that the terms left out may hold; float32 itself loses as much
# Under all maps while they walk: the edge of what has spread would be subnormal numbers, which processors
# take a hundred times as long for; ones walk to ones, so it can be taken away again.
_GROUND = np.float32(1e-20)
_ROWS = 1 << 12  # of the matrix at once: their entries stay in the processor's second cache


def walk(
    transition: scipy.sparse.csr_array, maps: NDArray[np.floating], times: Sequence[int] = (256,)
) -> Floats:
    """Return the maps after each number of steps of the random walk.

    Args:
        transition: [h*w, h*w] float32, rows sum to 1, from `engine.affinity.transition`.
        maps: [K, h, w] float, finite.
        times: Numbers of steps, each >= 0.

    Returns:
        [S, K, h, w] float32, between the least and the greatest value of the map it came from; relative to
        its peak within 3e-5 of the same in float64 (1e-4 where a single cell spreads over the whole grid).
    """
    count, height, width = maps.shape
    start = maps.reshape(count, height * width).astype(np.float32)  # [K, N]
    bands = list(_bands(transition))

    def product(x: Floats) -> Floats:
        moved = x.copy()
        for rows, columns, band in bands:
            for row, out in zip(x, moved, strict=True):
                # SciPy's product with one map runs along the diagonals, that with several hops.
                out[rows] += band @ row[columns]
        return moved

    walked = np.stack(powers(product, start + _GROUND, times))  # [S, K, N]
    walked[np.abs(walked) < 10 * _GROUND] = 0
    return within(walked.reshape(len(times), count, height, width), maps)


def within(walked: Floats, maps: NDArray[np.floating]) -> Floats:
    """Return walked maps [S, K, h, w], changed: each a mean of its map [K, h, w], so never beyond its values."""
    return np.clip(walked, maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True), out=walked)


def weights_of(times: Sequence[int], epsilon: float = EPSILON) -> NDArray[np.float64]:
    """Return c_tj of z^t = sum over j of c_tj T_j(z).

    Args:
        times: Numbers of steps t >= 0, at least one.
        epsilon: Bound of the sum of the |c_tj| left out.

    Returns:
        [S, J] float64 >= 0; J only as large as the longest walk needs, at most its steps + 1.
    """
    if not times or min(times) < 0:
        raise ValueError(f"{list(times)[:8]} are no numbers of steps")
    table = np.zeros((len(times), max(times) + 1))
    for row, t in zip(table, times, strict=True):
        j = np.arange(t % 2, t + 1, 2)
        ways = [math.lgamma(t + 1) - math.lgamma((t - k) / 2 + 1) - math.lgamma((t + k) / 2 + 1) for k in j]
        row[j] = np.exp(np.array(ways) + (1 - t) * math.log(2))
    table[:, 0] /= 2
    left_out = np.cumsum(table[:, ::-1], 1)[:, ::-1].max(0)  # [max t + 1], by all terms from j on
    return table[:, : max(1, int((left_out > epsilon).sum()))]


def powers(product: Callable[[Any], Any], start: Any, times: Sequence[int]) -> list[Any]:
    """Return T^t x for each t, from products with T alone.

    Args:
        product: From an array x to T x; NumPy's or torch's arrays.
        start: x.
        times: Numbers of steps t >= 0.
    """
    weights = weights_of(times)
    if weights.shape[1] > max(times):
        return _stepped(product, start, times)
    results = [start * float(c) for c in weights[:, 0]]
    before, now = start, product(start)
    for j in range(1, weights.shape[1]):
        if j > 1:
            after = product(now)
            after *= 2
            after -= before
            before, now = now, after
        for result, c in zip(results, weights[:, j], strict=True):
            if c:
                result += now * float(c)
    return results


def barrier(edge: NDArray[np.floating], beta: float, steps: int) -> Floats:
    """Return how surely an edge holds back a walk: 1 - (1 - edge)^(beta steps).

    Args:
        edge: float in [0, 1], probability of a class boundary.
        beta: Exponent of the transition.
        steps: Of the walk.
    """
    passed = np.power(1 - np.asarray(edge, np.float64), beta * steps)
    return (1 - passed).astype(np.float32)


def changes(rows: scipy.sparse.csr_array, begin: int = 0) -> scipy.sparse.csr_array:
    """Return rows of T - I, the diagonal found as what is missing from the rest of each row to 0.

    T x = x + (T - I) x: where little moves, little is rounded, and 256 steps stay true.

    Args:
        rows: [n, N] float32, rows of T from number `begin` on.
        begin: Number of the first.

    Raises:
        ValueError: A row has no entry on the diagonal.
    """
    own = np.repeat(np.arange(begin, begin + rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
    diagonal = np.flatnonzero(own == rows.indices)
    if len(diagonal) != rows.shape[0]:
        raise ValueError(f"{rows.shape[0]} rows, {len(diagonal)} entries on the diagonal")
    data = rows.data.copy()
    data[diagonal] = 0
    data[diagonal] = -np.add.reduceat(data, rows.indptr[:-1], dtype=np.float64)
    return scipy.sparse.csr_array((data, rows.indices, rows.indptr), shape=rows.shape)


def _stepped(product: Callable[[Any], Any], start: Any, times: Sequence[int]) -> list[Any]:
    reached, now = {0: start}, start
    for t in range(1, max(times) + 1):
        now = product(now)
        if t in times:
            reached[t] = now
    return [reached[t] for t in times]


def _bands(transition: scipy.sparse.csr_array) -> Iterator[tuple[slice, slice, scipy.sparse.dia_array]]:
    """Yield rows, the columns in which they have entries, and these of T - I by their diagonals.

    Products run along diagonals without looking indexes up; of so many rows, what they need stays in the cache.
    """
    for begin in range(0, transition.shape[0], _ROWS):
        rows = slice(begin, min(begin + _ROWS, transition.shape[0]))
        yield rows, *_by_diagonals(changes(transition[rows], begin))


def _by_diagonals(rows: scipy.sparse.csr_array) -> tuple[slice, scipy.sparse.dia_array]:
    """Return the columns from the first to the last with an entry, and these by their diagonals.

    SciPy's own conversion sorts the entries, which takes six times as long.
    """
    count, first, last = rows.shape[0], int(rows.indices.min()), int(rows.indices.max())
    # Column minus row, moved up so that none is negative.
    places = rows.indices - np.repeat(np.arange(first, first + count, dtype=np.int32), np.diff(rows.indptr))
    places += count - 1
    present = np.zeros(count + last - first, bool)
    present[places] = True
    diagonals = np.flatnonzero(present)
    places = (np.cumsum(present, dtype=np.int32) - 1)[places]
    data = np.zeros((len(diagonals), last + 1 - first), np.float32)
    data[places, rows.indices - first] = rows.data
    band = scipy.sparse.dia_array((data, diagonals - (count - 1)), shape=(count, last + 1 - first))
    return slice(first, last + 1), band
