"""Boxes of a map at 1000 thresholds from its distinct cuts, against tracing contours 1000 times.

The reference is the loop of Choe et al.'s evaluation: for each threshold the 8-bit map is cut,
its contours are traced, and each contour (and the largest) gives a box. `max_difference` is the
largest difference of any coordinate of any box at any threshold; it has to be 0.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.bench._versus import allocated, alternate, numbers
from engine.boxes import GRID, boxes_along, grey, normalised, resampled

__all__ = ["bench"]

_SIDE = 224  # px
_CELLS = 14  # of a network of stride 16
_MAPS = 3

# The boxes of all contours and of the largest, for each threshold.
_Boxes = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def bench(rounds: int) -> dict[str, Any]:
    """Find the boxes of maps with one, two and three bumps over a noisy ground both ways."""
    maps = [_map(np.random.default_rng(count), count) for count in range(1, _MAPS + 1)]

    def ours() -> list[_Boxes]:
        return [_ours(heat) for heat in maps]

    def reference() -> list[_Boxes]:
        return [_reference(heat) for heat in maps]

    difference = 0
    for mine, literal in zip(ours(), reference(), strict=True):
        for pair, wanted in zip(mine, literal, strict=True):
            for a, b in zip(pair, wanted, strict=True):
                # Another number of boxes is as wrong as a box can be.
                difference = max(difference, int(np.abs(a - b).max()) if a.shape == b.shape else _SIDE)
    seconds = alternate(ours, reference, rounds)
    return numbers(
        seconds, (allocated(ours), allocated(reference)), difference, thresholds=len(GRID), maps=len(maps)
    )


def _ours(heat: NDArray[np.float64]) -> _Boxes:
    shades = grey(heat)
    found = boxes_along(shades, (GRID * int(shades.max())).astype(np.int64).tolist())
    return [(f.boxes, f.boxes[f.largest]) for f in found]


def _reference(heat: NDArray[np.float64]) -> _Boxes:
    height, width = heat.shape
    image = (heat * 255).astype(np.uint8)[..., None]
    made: _Boxes = []
    for share in GRID:
        _, cut = cv2.threshold(image, int(share * np.max(image)), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(cut, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if not contours:
            made.append((np.zeros((1, 4), np.int64), np.zeros(4, np.int64)))
            continue
        boxes = [cv2.boundingRect(contour) for contour in contours]
        corners = [(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in boxes]
        largest = max(range(len(contours)), key=lambda n: cv2.contourArea(contours[n]))
        made.append((np.array(corners, np.int64), np.array(corners[largest], np.int64)))
    return made


def _map(random: np.random.Generator, bumps: int) -> NDArray[np.float64]:
    """Return a drawn map as a classifier would give it, enlarged and normalised."""
    y, x = np.mgrid[:_CELLS, :_CELLS]
    cells = 0.15 * random.random((_CELLS, _CELLS))
    for _ in range(bumps):
        cy, cx = random.uniform(2, _CELLS - 3, 2)
        cells += random.uniform(0.5, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / random.uniform(2, 12))
    stride = _SIDE / _CELLS
    return normalised(resampled(cells, (_SIDE, _SIDE), stride, (stride - 1) / 2, 0))
