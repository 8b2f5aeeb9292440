"""One look at the pixels for 60 thresholds, against one evaluation for each threshold.

The reference is the loop of the field's reference code (IRN's and AdvCAM's eval_cam): for
each threshold a constant background in front of the maps, an argmax, and chainercv's
confusion (a histogram of truth * n + prediction over the valid pixels). `max_difference`
is the largest difference of any count of any confusion; it has to be 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.labels import best_class
from engine.metrics import Sweep
from engine.results import enlarge

__all__ = ["bench"]

_SIZE = (375, 500)  # (H, W) px of a VOC photograph
_CLASSES = 20
_STEPS = 60
_THRESHOLDS = tuple(round(k / _STEPS, 4) for k in range(_STEPS))

_Shot = tuple[NDArray[np.float32], tuple[int, ...], NDArray[np.uint8]]


def bench(rounds: int) -> dict[str, Any]:
    """Sweep 60 thresholds over VOC-sized images of one, two and three classes both ways."""
    shots = [_shot(np.random.default_rng(count), count) for count in (1, 2, 3)]

    def ours() -> list[NDArray[np.int64]]:
        sweep = Sweep(_THRESHOLDS, _CLASSES)
        for maps, classes, truth in shots:
            best, which = best_class(maps)
            sweep.add(best, which, classes, truth)
        return [sweep.result(k).counts for k in range(_STEPS)]

    def reference() -> list[NDArray[np.int64]]:
        return [sum((_confusion(shot, t) for shot in shots), _NOTHING) for t in _THRESHOLDS]

    difference = max(int(np.abs(a - b).max()) for a, b in zip(ours(), reference(), strict=True))
    seconds = alternate(ours, reference, rounds)
    return numbers(
        seconds, (allocated(ours), allocated(reference)), difference, thresholds=_STEPS, images=len(shots)
    )


_NOTHING = np.zeros((_CLASSES + 1, _CLASSES + 1), np.int64)


def _confusion(shot: _Shot, threshold: float) -> NDArray[np.int64]:
    maps, classes, truth = shot
    scores = np.pad(maps, ((1, 0), (0, 0), (0, 0)), constant_values=threshold)
    keys = np.array([0, *(c + 1 for c in classes)])
    prediction = keys[scores.argmax(axis=0)]
    valid = truth != 255
    n = _CLASSES + 1
    pairs = n * truth[valid].astype(int) + prediction[valid]
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def _shot(random: np.random.Generator, count: int) -> _Shot:
    """Return maps, classes and truth of a drawn image."""
    classes = tuple(sorted(random.choice(_CLASSES, count, replace=False).tolist()))
    maps = enlarge(random.random((count, 24, 32), np.float32), _SIZE, 16.0, 7.5)
    truth = np.zeros(_SIZE, np.uint8)
    for c in classes:
        y, x = random.integers(0, 200, 2)
        truth[y : y + 150, x : x + 180] = c + 1
    truth[random.random(_SIZE) < 0.05] = 255
    return maps, classes, truth
