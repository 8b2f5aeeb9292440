"""A move of the threshold slider to the repainted mask, in napari, against 16 and 60 ms.

The window's part runs in a child under a display (a screen in memory where there is
none): `python -m wsss_napari.bench_threshold`. Its share of numpy is measured here too:
ours applies the rule to the two planes kept per image, the reference pads, argmaxes and
looks up all maps anew, as a slider without `labels.best_class` would have to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.display import screen
from engine.errors import UserError
from engine.labels import LabelRule, apply, best_class
from engine.results import enlarge

__all__ = ["bench"]

_CLASSES = tuple(range(6))
_SIZES = ((375, 500), (2048, 2048))  # (H, W) px
_SECONDS = 300


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
    return numbers(seconds, peaks, difference, window=_window(rounds))


def _window(rounds: int) -> dict[str, Any]:
    """Return what the window's benchmark prints as its last line of stdout."""
    with screen() as environment:
        try:
            child = subprocess.run(
                [sys.executable, "-m", "wsss_napari.bench_threshold", "--rounds", str(rounds)],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"The window did not finish its benchmark in {_SECONDS} s.") from None
    lines = child.stdout.strip().splitlines()
    if child.returncode != 0 or not lines:
        tail = "\n".join(child.stderr.strip().splitlines()[-3:])
        raise UserError(
            f"The window could not be measured (exit code {child.returncode}):\n{tail}",
            "It needs a Qt binding and a display or Xvfb.",
            "Install them with `pip install 'wsss-napari[pyqt5]'` and `apt-get install xvfb`.",
        )
    result: dict[str, Any] = json.loads(lines[-1])
    return result
