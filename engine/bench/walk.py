"""A random walk of 256 steps on the grid of a VOC-sized image, sparse by polynomials against the whole matrix.

Ours is `engine.affinity` from the edges to the walked maps, as a refinement runs it. The reference forms the
whole matrix as IRN's released code does and multiplies the maps by it 256 times; it runs once, a round of it
takes longer than all of ours. The released code squares the matrix 8 times instead, which costs more the
fewer the maps: per image 8 N^3 multiplications, against 256 K N^2 here. `max_difference` is relative to
each map's peak after the walk.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.affinity import path_affinity, transition, walk
from engine.bench._dense_walk import dense_walk
from engine.bench._versus import allocated, numbers

__all__ = ["bench"]

Floats = NDArray[np.float32]

_GRID = (94, 125)  # 375 x 500 px in cells of 4 px
_CLASSES = 2
_RADIUS, _BETA, _STEPS = 5, 10.0, 256


def bench(rounds: int) -> dict[str, Any]:
    """Walk two maps over winding boundaries both ways."""
    edge, maps = _scene(np.random.default_rng(0))
    slow: list[tuple[float, Floats]] = []

    def ours() -> Floats:
        matrix = transition(path_affinity(edge, _RADIUS), _RADIUS, beta=_BETA)
        walked: Floats = walk(matrix, maps, (_STEPS,))[0]
        return walked

    def reference() -> None:
        slow.append(_timed(lambda: dense_walk(edge, maps, radius=_RADIUS, beta=_BETA, steps=_STEPS)))

    # Counting memory costs a call for each array: nothing beside the products of the whole matrix.
    peaks = allocated(ours), allocated(reference)
    quick = [_timed(ours) for _ in range(max(rounds, 1))]
    [(reference_seconds, wanted)] = slow
    seconds = statistics.median(taken for taken, _ in quick)
    difference = float((np.abs(quick[0][1] - wanted).max((1, 2)) / wanted.max((1, 2))).max())
    same = float((quick[0][1].argmax(0) == wanted.argmax(0)).mean())
    return numbers(
        (seconds, reference_seconds), peaks, difference, same_winner=same, cells=edge.size, steps=_STEPS
    )


def _timed(call: Callable[[], Floats]) -> tuple[float, Floats]:
    begin = time.perf_counter()
    found = call()
    return time.perf_counter() - begin, found


def _scene(random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return edges [h, w] along the contours of smooth noise, and smooth maps [K, h, w], both in [0, 1]."""
    height = ndimage.gaussian_filter(random.random(_GRID), 6)
    height /= height.std()
    edge = np.exp(-(((height - height.mean()) / 0.1) ** 2))
    maps = ndimage.gaussian_filter(random.random((_CLASSES, *_GRID)), (0, 6, 6))
    maps -= maps.min()
    return edge.astype(np.float32), (maps / maps.max()).astype(np.float32)
