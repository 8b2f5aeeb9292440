"""Two unaries refined side by side on one lattice, against two fields built and refined one after the other.

The reference is what IRN's and AdvCAM's code does for its confident labels: a new pydensecrf
field for each of the two cuts. `two_over_one` is the time of both cuts over that of one cut on
a lattice of its own, taken in turn; it has to be 1.3 at most. `max_difference` is the largest
difference of any probability. `pool_seconds` are the seconds of eight images, two cuts each, in one
worker process and in two.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.bench._versus import alternate, numbers, resident
from engine.crf import CRFParams, Lattice, refine_together, unary_of_labels
from engine.params import parse
from engine.workers import run_pool

__all__ = ["bench"]

_SIZE = (375, 500)  # (H, W) px of a VOC photograph
_LABELS = 3
_IMAGES = 8

_Floats = NDArray[np.float32]


def bench(rounds: int) -> dict[str, Any]:
    """Refine the two cuts of a drawn image of two classes with IRN's settings both ways."""
    params = parse(CRFParams, {"preset": "irn"})
    image, unaries = _shot(0, _SIZE)

    def ours() -> list[_Floats]:
        return refine_together(image, unaries, params)

    def reference() -> list[_Floats]:
        return [Lattice(image, _LABELS, params).refine(unary) for unary in unaries]

    def one() -> _Floats:
        return Lattice(image, _LABELS, params).refine(unaries[0])

    pairs = list(zip(ours(), reference(), strict=True))
    seconds = alternate(ours, reference, rounds)
    both, single = alternate(ours, one, rounds)
    return numbers(
        seconds,
        (resident(ours), resident(reference)),
        max(float(np.abs(a - b).max()) for a, b in pairs),
        other_labels=max(float((a.argmax(axis=0) != b.argmax(axis=0)).mean()) for a, b in pairs),
        two_over_one=both / single,
        one_seconds=single,
        pool_seconds={str(workers): _pool(workers) for workers in (1, 2)},
        images=_IMAGES,
    )


def refine_shot(seed: int, height: int, width: int) -> list[int]:
    """Refine the two cuts of a drawn image and return the labels of each; the workers' task."""
    image, unaries = _shot(seed, (height, width))
    refined = refine_together(image, unaries, parse(CRFParams, {"preset": "irn"}))
    return [int(q.argmax(axis=0).sum()) for q in refined]


def _pool(workers: int) -> float:
    begin = time.perf_counter()
    tasks = ([seed, *_SIZE] for seed in range(_IMAGES))
    for _ in run_pool("engine.bench.crf:refine_shot", tasks, workers):
        pass
    return time.perf_counter() - begin


def _shot(seed: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], list[_Floats]]:
    """Return a drawn photograph (soft patches and grain) and the unaries of its two cuts."""
    random = np.random.default_rng(seed)

    def soft(spread: float) -> NDArray[np.float64]:
        field = ndimage.gaussian_filter(random.random(size), spread)
        return np.asarray((field - field.mean()) / field.std())

    colours = np.stack([128 + 45 * soft(6) for _ in range(3)], axis=2) + random.normal(0, 3, (*size, 3))
    image = np.clip(colours, 0, 255).astype(np.uint8)
    maps = np.stack([soft(16) for _ in range(_LABELS - 1)])
    winner = maps.argmax(axis=0) + 1
    unaries = [
        unary_of_labels(np.where(maps.max(axis=0) > cut, winner, 0).astype(np.uint8), _LABELS, 0.7)
        for cut in (1.0, 0.4)
    ]
    return image, unaries
