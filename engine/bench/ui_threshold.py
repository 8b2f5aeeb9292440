"""A move of the threshold slider to the repainted mask, in napari, against 16 and 60 ms.

The window's part runs in a child under a display (a screen in memory where there is
none): `python -m wsss_napari.bench_threshold`. Its share of numpy is measured here too:
ours applies the rule to the two planes kept per image, the reference pads, argmaxes and
looks up all maps anew, as a slider without `labels.best_class` would have to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.bench._window import in_window
from engine.labels import LabelRule, apply, best_class
from engine.results import enlarge

__all__ = ["bench"]

_CLASSES = tuple(range(6))
_SIZES = ((375, 500), (2048, 2048))  # (H, W) px


def bench(rounds: int) -> dict[str, Any]:
    """Measure numpy's part at 2048 x 2048 with six classes, and the whole move in the window."""
    maps = enlarge(np.random.default_rng(0).random((6, 128, 128), np.float32), _SIZES[1], 16.0, 0.0)
    best, which = best_class(maps)
    keys = np.array([0, *(c + 1 for c in _CLASSES)], np.uint8)
    out = np.empty(_SIZES[1], np.uint8)

    def ours() -> NDArray[np.uint8]:
        return apply(LabelRule("constant", 0.3), best, which, _CLASSES, out)

    def reference() -> NDArray[np.uint8]:
        mask: NDArray[np.uint8] = keys[
            np.pad(maps, ((1, 0), (0, 0), (0, 0)), constant_values=0.3).argmax(axis=0)
        ]
        return mask

    difference = int(np.abs(ours().astype(int) - reference()).max())
    seconds = alternate(ours, reference, rounds)
    peaks = allocated(ours), allocated(reference)
    return numbers(seconds, peaks, difference, window=in_window("wsss_napari.bench_threshold", rounds))
