"""Boxes around maps, and how often they are right: MaxBoxAcc and MaxBoxAccV2.

The protocol is that of Choe et al., "Evaluating Weakly Supervised Object Localization Methods
Right" (CVPR 2020; V2 in the extended version, arXiv 2007.04178): the map is enlarged to a square,
min-max normalised, made 8-bit, cut at 1000 thresholds, and each contour gives a box. An 8-bit map
has 255 cuts at most, and no more than it has values, so each is looked at once; the boxes are
those of the whole grid, bit for bit.

A quirk of the protocol is kept, as published figures have it: a box ends one pixel behind its
contour (clipped to the picture), while the overlap counts both ends as inside. A perfect mask of
60 x 50 px therefore overlaps its true box by 0.964 and not by 1.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DELTAS",
    "GRID",
    "BoxTally",
    "Found",
    "boxes_along",
    "boxes_at",
    "grey",
    "iou",
    "normalised",
    "resampled",
    "scaled",
]

DELTAS = (0.3, 0.5, 0.7)
"""Overlaps from which on a box counts as right; MaxBoxAccV2 is the mean over them."""
GRID: NDArray[np.float64] = np.arange(0, 1, 0.001)
"""Thresholds of the protocol, as shares of a map's maximum."""

# Every cut of a map whose maximum is 255, and the first threshold of the grid that makes it.
_CUTS, _FIRST = np.unique((GRID * 255).astype(np.int64), return_index=True)
_THRESHOLDS = np.round(GRID[_FIRST], 3)
_ALL, _LARGEST = 0, 1
# What a threshold is chosen for: (which contours, which delta) in the arrays of the tally.
_CHOICES = {**{str(delta): (_ALL, d) for d, delta in enumerate(DELTAS)}, "v1": (_LARGEST, DELTAS.index(0.5))}
# Pairs of boxes compared at once; a noisy map has thousands of contours at every threshold.
_PAIRS = 1 << 20
_TENTHS = np.arange(11) / 10
_EMPTY = np.zeros((1, 1), np.uint8)


@dataclass(frozen=True, eq=False)
class Found:
    """The boxes at one threshold.

    Attributes:
        boxes: [n, 4] int64, (x0, y0, x1, y1) in px of the map: of every contour, holes included, or
            (0, 0, 0, 0) where nothing is above the threshold.
        largest: Row of the contour that encloses the largest area.
    """

    boxes: NDArray[np.int64]
    largest: int = 0


def resampled(
    cells: NDArray[Any], size: tuple[int, int], cell: float, origin: float, side: int
) -> NDArray[np.float64]:
    """Return a map enlarged by bicubic interpolation (Keys, a = -0.75, edges held).

    Where the cells cover the image exactly this is `cv2.resize(..., INTER_CUBIC)`; a map whose cells
    reach beyond the image, or are centred otherwise, keeps its place on the image here.

    Args:
        cells: [h, w] float.
        size: (H, W) of the image in px.
        cell: Side of a cell in px of the image.
        origin: Pixel of the image on which cell 0 is centred.
        side: Side of the square to return, or 0 for the size of the image.

    Returns:
        [side, side] or [H, W] float64.
    """
    enlarged = cells.astype(np.float64)
    for axis, pixels in enumerate(size):
        count = cells.shape[axis]
        to = side or pixels
        at = (((np.arange(to) + 0.5) * pixels / to - 0.5) - origin) / cell
        low = np.floor(at).astype(np.int64)
        f = at - low
        column = (-1, 1) if axis == 0 else (1, -1)
        rows = enlarged
        enlarged = np.zeros((to, *rows.shape[1:]) if axis == 0 else (rows.shape[0], to))
        for tap in range(-1, 3):
            near = np.take(rows, np.clip(low + tap, 0, count - 1), axis)
            enlarged += near * _cubic(np.abs(f - tap)).reshape(column)
    return enlarged


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.75
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x <= 1, inner, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a)


def normalised(heat: NDArray[Any]) -> NDArray[np.float64]:
    """Return [H, W] float64 in [0, 1], 0 and 1 attained; a constant map, or one with NaN, becomes zeros."""
    made = heat.astype(np.float64)
    if not np.isfinite(made).all() or made.min() == made.max():
        return np.zeros(made.shape)
    made -= made.min()
    made /= made.max()
    return made


def grey(heat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a map in [0, 1] as the protocol cuts it, [H, W] uint8; fractions are dropped."""
    return (heat * 255).astype(np.uint8)


def boxes_at(heat: NDArray[Any], threshold: float, largest: bool = False) -> list[tuple[int, int, int, int]]:
    """Return the boxes around what lies above a threshold.

    Args:
        heat: [H, W] float, one class; normalised here.
        threshold: Share of the maximum, in [0, 1].
        largest: Return the box of the largest contour alone (MaxBoxAcc), not of all (MaxBoxAccV2).

    Returns:
        (x0, y0, x1, y1) in px of the map, x1 and y1 one pixel behind the contour and clipped to the
        picture; [(0, 0, 0, 0)] where nothing is above.
    """
    shades = grey(normalised(heat))
    found = boxes_along(shades, [int(threshold * int(shades.max()))])[0]
    chosen = found.boxes[found.largest, None] if largest else found.boxes
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in chosen.tolist()]


def boxes_along(shades: NDArray[np.uint8], cuts: Iterable[int]) -> list[Found]:
    """Return what is found above each cut; cuts that part the map alike share one object.

    Args:
        shades: [H, W] uint8.
        cuts: Values in [0, 255]; what is larger than one is inside.
    """
    levels = np.fromiter(cuts, np.int64)
    # Cuts are alike that have as many of the map's values below them.
    _, which, parts = np.unique(
        np.searchsorted(np.unique(shades), levels, side="right"), return_index=True, return_inverse=True
    )
    found = _around(shades, levels[which])
    return [found[part] for part in parts.tolist()]


def _around(shades: NDArray[np.uint8], levels: NDArray[np.int64]) -> list[Found]:
    """Return the boxes of the contours of what is above each level."""
    height, width = shades.shape
    top, bottom = _ends(shades.max(axis=1), levels)
    left, right = _ends(shades.max(axis=0), levels)
    rectangles: list[Sequence[int]] = []
    counts, largest = [], []
    for level, y0, y1, x0, x1 in zip(levels.tolist(), top, bottom, left, right, strict=True):
        # Outside of this window there is nothing to trace, and tracing costs by the pixel.
        cut = cv2.threshold(shades[y0:y1, x0:x1], level, 1, cv2.THRESH_BINARY)[1] if y0 < y1 else _EMPTY
        contours, _ = cv2.findContours(cut, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0))
        rectangles += [cv2.boundingRect(c) for c in contours] or [(0, 0, 0, 0)]
        counts.append(len(contours) or 1)
        # Of two that enclose the same area the first, as `max` takes it.
        areas = [cv2.contourArea(c) for c in contours] if len(contours) > 1 else [0.0]
        largest.append(areas.index(max(areas)))
    boxes = np.array(rectangles, np.int64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    np.minimum(boxes[:, 2:], (width - 1, height - 1), out=boxes[:, 2:])
    ends = itertools.accumulate(counts)
    return [Found(boxes[end - n : end], row) for n, end, row in zip(counts, ends, largest, strict=True)]


def _ends(highest: NDArray[np.uint8], levels: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Return where the values above each level begin, and one behind where they end."""
    begin = np.searchsorted(np.maximum.accumulate(highest), levels, side="right")
    behind = np.searchsorted(np.maximum.accumulate(highest[::-1]), levels, side="right")
    return begin.tolist(), (len(highest) - behind).tolist()


def iou(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the overlap of boxes with both ends inside, [n, m] float64 in [0, 1].

    Args:
        a: [n, 4] int64, (x0, y0, x1, y1).
        b: [m, 4] int64.

    Raises:
        ValueError: A box ends before it begins.
    """
    for boxes in (a, b):
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValueError("a box ends before it begins")
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.maximum(high - low + 1, 0).prod(axis=2)  # [n, m]
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (a, b)]
    overlap: NDArray[np.float64] = common / (areas[0][:, None] + areas[1] - common)
    return overlap


def scaled(box: Sequence[float], size: tuple[int, int], to: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a true box of an image of another size; fractions are dropped, as the protocol does.

    Args:
        box: (x0, y0, x1, y1) in px, ends inside.
        size: (H, W) of the image.
        to: (H, W) wanted.
    """
    (height, width), (tall, broad) = size, to
    x0, y0, x1, y1 = box
    return int(x0 * broad / width), int(y0 * tall / height), int(x1 * broad / width), int(y1 * tall / height)


def _best(found: Sequence[Found], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the best overlap with any true box: [2, n] float64, of all contours and of the largest."""
    overlaps = np.empty((2, len(found)))
    begin = 0
    while begin < len(found):
        end, rows = begin, 0
        while end < len(found) and (end == begin or (rows + len(found[end].boxes)) * len(truth) <= _PAIRS):
            rows += len(found[end].boxes)
            end += 1
        these = found[begin:end]
        best = iou(np.concatenate([f.boxes for f in these]), truth).max(axis=1)
        starts = np.cumsum([0, *(len(f.boxes) for f in these[:-1])])
        overlaps[_ALL, begin:end] = np.maximum.reduceat(best, starts)
        overlaps[_LARGEST, begin:end] = best[starts + [f.largest for f in these]]
        begin = end
    return overlaps


class BoxTally:
    """Counts, over the pairs of image and class of a data set, the boxes that are right at every threshold.

    A threshold is chosen once for all of them; the best one of each image is counted beside it, as
    a diagnostic of what better thresholds could bring.
    """

    def __init__(self) -> None:
        shape = (2, len(DELTAS), len(_CUTS))
        # Class -> pairs of which the classifier's first class was (1) or was not (0) the class.
        self._pairs: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(2, np.int64))
        self._right: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros((2, *shape), np.int64))
        self._own = np.zeros(shape[:2], np.int64)
        self._histogram = np.zeros((len(_CUTS), 10), np.int64)
        self._kept: list[tuple[str, int, NDArray[np.float32]]] = []
        self._scored = True

    def __len__(self) -> int:
        return len(self._kept)

    def add(
        self, stem: str, cls: int, heat: NDArray[Any], truth: NDArray[np.int64], first: bool | None
    ) -> None:
        """Count one pair.

        Args:
            stem: The image.
            cls: 0-based class of the project.
            heat: [H, W] float, the map of the class.
            truth: [m, 4] int64, at least one true box of the class in px of the map.
            first: Whether the classifier scores the class highest; None where it has not told.
        """
        cuts = boxes_along(grey(normalised(heat)), _CUTS.tolist())
        order = {found: n for n, found in enumerate(dict.fromkeys(cuts))}
        overlaps = _best(list(order), truth)[:, [order[found] for found in cuts]]  # [2, cuts]
        right = overlaps[:, None] >= np.array(DELTAS)[:, None]  # [2, deltas, cuts]
        self._scored &= first is not None
        self._pairs[cls][int(bool(first))] += 1
        self._right[cls][int(bool(first))] += right
        self._own += right.any(axis=2)
        tenths = np.searchsorted(_TENTHS[1:-1], overlaps[_ALL], side="right")
        self._histogram[np.arange(len(_CUTS)), tenths] += 1
        self._kept.append((stem, cls, overlaps[_ALL].astype(np.float32)))

    def report(self, classes: Sequence[str], worst: int = 50) -> dict[str, Any]:
        """Return the figures of the data set, plain JSON values.

        Args:
            classes: Class names of the project.
            worst: Most failures listed.

        Returns:
            max_box_acc (largest contour, overlap 0.5), max_box_acc_v2 (all contours, mean over
            `DELTAS`), `at` each delta with the `thresholds` that are best over the data set;
            top1_cls, and top1_loc: the class is the classifier's first and the box of all contours
            right at 0.5 at its threshold (`top1_loc_at` each delta, `top1_loc_v1` by the largest
            contour), None where a pair lacks scores; per_class at the same thresholds; curve with one
            entry for each cut; iou_histogram and failures of all contours at the threshold of 0.5;
            oracle, with a threshold for each pair, which is no result to quote.

        Raises:
            ValueError: Nothing was counted.
        """
        if not self._kept:
            raise ValueError("no pair was counted")
        pairs = np.sum(list(self._pairs.values()), axis=0)  # [2]
        right = np.sum(list(self._right.values()), axis=0)  # [2, contours, deltas, cuts]
        curves = {name: right.sum(axis=0)[row] / len(self) for name, row in _CHOICES.items()}
        cuts = {name: int(curve.argmax()) for name, curve in curves.items()}
        every = self._figures(pairs, right, cuts)
        half = cuts["0.5"]
        failures = sorted(
            (float(overlaps[half]), stem, cls) for stem, cls, overlaps in self._kept if overlaps[half] < 0.5
        )
        return {
            "max_box_acc": every["at"].pop("v1"),
            "max_box_acc_v2": every["mean"],
            "at": every["at"],
            "thresholds": {name: float(_THRESHOLDS[cut]) for name, cut in cuts.items()},
            "top1_cls": every["top1_cls"],
            "top1_loc": every["top1_loc_at"]["0.5"],
            "top1_loc_v1": every["top1_loc_at"].pop("v1"),
            "top1_loc_at": every["top1_loc_at"],
            "images": len({stem for stem, _, _ in self._kept}),
            "pairs": len(self),
            "per_class": {
                classes[cls]: self._figures(self._pairs[cls], self._right[cls], cuts)
                for cls in sorted(self._pairs)
            },
            "curve": {
                "threshold": _THRESHOLDS.tolist(),
                **{name: curve.tolist() for name, curve in curves.items()},
            },
            "iou_histogram": {"edges": _TENTHS.tolist(), "counts": self._histogram[half].tolist()},
            "failures": [[stem, classes[cls], overlap] for overlap, stem, cls in failures[:worst]],
            "oracle": {name: float(self._own[row] / len(self)) for name, row in _CHOICES.items()},
        }

    def _figures(
        self, pairs: NDArray[np.int64], right: NDArray[np.int64], cuts: dict[str, int]
    ) -> dict[str, Any]:
        """Return the shares of some pairs at the thresholds of the data set.

        Args:
            pairs: [2], whether the class was the classifier's first.
            right: [2, contours, deltas, cuts], the pairs that are right.
            cuts: The chosen cut of each of `_CHOICES`.
        """
        total = int(pairs.sum())
        counts = {name: right[:, *row, cuts[name]] for name, row in _CHOICES.items()}  # [2] each
        at = {name: float(own.sum() / total) for name, own in counts.items()}
        return {
            "pairs": total,
            "at": at,
            "mean": sum(at[str(delta)] for delta in DELTAS) / len(DELTAS),
            "top1_cls": float(pairs[1] / total) if self._scored else None,
            "top1_loc_at": {
                name: float(own[1] / total) if self._scored else None for name, own in counts.items()
            },
        }
