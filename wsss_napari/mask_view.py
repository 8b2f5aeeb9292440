"""The arithmetic behind the Explore page: scores once per image, a mask per slider move. No Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.labels import LabelRule, apply, apply_scores, best_class
from engine.results import CamStack

__all__ = [
    "FLAT",
    "ClassScore",
    "MaskView",
    "merged",
    "scores_at",
    "shares",
    "with_background",
    "with_threshold",
]

# A raw peak below this share of the image's largest is no evidence, however bright the map looks.
FLAT = 0.05
_BINS = 64


@dataclass(frozen=True)
class ClassScore:
    """What one class says of one pixel: its map in [0, 1], and the method's raw value."""

    cls: int
    score: float
    raw: float


class MaskView:
    """The maps of one image, ready for sliders.

    The scores of the chosen classes are enlarged and compared once; each rule is then one
    pass over the pixels into the same buffer.

    Args:
        stack: The maps.
        on: Classes that take part; None means all.
    """

    def __init__(self, stack: CamStack, on: Sequence[int] | None = None) -> None:
        self.stack = stack
        self.classes: tuple[int, ...] = ()
        self._buffer = np.zeros(stack.size, np.uint8)
        self._best = np.zeros(stack.size, np.float32)
        self._which = np.zeros(stack.size, np.uint8)
        self._fixed: NDArray[np.uint8] | None = None
        self.choose(stack.classes if on is None else on)

    @property
    def has_rule(self) -> bool:
        """Whether a threshold decides; a source with its own background scores needs none."""
        return self.stack.background is None

    def choose(self, on: Sequence[int]) -> None:
        """Let these classes take part in the mask; those without a map are passed over."""
        rows = [k for k, c in enumerate(self.stack.classes) if c in on]
        self.classes = tuple(self.stack.classes[k] for k in rows)
        maps = replace(
            self.stack, classes=self.classes, maps=self.stack.maps[rows], peaks=self.stack.peaks[rows]
        ).full()  # [K, H, W]
        background = self.stack.full_background()
        if background is not None:
            self._fixed = apply_scores(np.concatenate([background[None], maps]), self.classes)
        self._best, self._which = best_class(maps)

    def mask(self, rule: LabelRule) -> NDArray[np.uint8]:
        """Return the mask of a rule, [H, W] uint8; the next call writes over it."""
        if self._fixed is not None:
            return self._fixed
        return apply(rule, self._best, self._which, self.classes, out=self._buffer)

    def value_at(self, rule: LabelRule, row: int, column: int) -> int:
        """Return what the mask of a rule holds at one pixel."""
        if self._fixed is not None:
            return int(self._fixed[row, column])
        here = (slice(row, row + 1), slice(column, column + 1))
        return int(apply(rule, self._best[here].copy(), self._which[here].copy(), self.classes)[0, 0])

    def histogram(self) -> NDArray[np.int64]:
        """Return the pixels whose best class is k by their score, [K, 64] int64."""
        count = len(self.classes)
        if not count:
            return np.zeros((0, _BINS), np.int64)
        cells = np.clip(self._best * _BINS, 0, _BINS - 1).astype(np.uint16)
        cells += self._which.astype(np.uint16) * np.uint16(_BINS)
        return np.bincount(cells.reshape(-1), minlength=count * _BINS).reshape(count, _BINS)

    def why(self, row: int, column: int) -> list[ClassScore]:
        """Return what each class says of a pixel, the strongest first."""
        stack = self.stack
        scores = scores_at(stack, row, column)
        found = [
            ClassScore(c, float(s), float(s * p))
            for c, s, p in zip(stack.classes, scores, stack.peaks, strict=True)
        ]
        return sorted(found, key=lambda f: -f.score)

    def flat(self) -> tuple[int, ...]:
        """Return the classes whose map is only noise that was divided by its own small peak."""
        peaks = self.stack.peaks
        top = float(peaks.max(initial=0))
        limit = max(FLAT * top, 1e-6)
        return tuple(c for c, p in zip(self.stack.classes, peaks, strict=True) if p < limit)


def scores_at(stack: CamStack, row: int, column: int) -> NDArray[np.float32]:
    """Return the maps at one pixel, [K] float32, as `CamStack.full` would enlarge them."""
    _, h, w = stack.maps.shape
    y = min(max((row - stack.origin) / stack.cell, 0.0), h - 1)
    x = min(max((column - stack.origin) / stack.cell, 0.0), w - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    fy, fx = np.float32(y - top), np.float32(x - left)
    corners = stack.maps[:, [top, top, bottom, bottom], [left, right, left, right]].astype(np.float32)
    upper = corners[:, 0] + (corners[:, 1] - corners[:, 0]) * fx
    lower = corners[:, 2] + (corners[:, 3] - corners[:, 2]) * fx
    return np.asarray(upper + (lower - upper) * fy, np.float32)


def shares(mask: NDArray[np.uint8]) -> dict[int, float]:
    """Return value -> its share of the mask, in [0, 1], background first and unsure last."""
    counts = np.bincount(mask.reshape(-1), minlength=256)
    return {int(v): float(counts[v] / mask.size) for v in np.flatnonzero(counts)}


def merged(stack: CamStack, others: CamStack) -> CamStack:
    """Return a stack with the classes of both; where both have one, the first's map counts.

    Stacks of other cells or another image size are left out.
    """
    same = (stack.size, stack.maps.shape[1:], stack.cell, stack.origin)
    if same != (others.size, others.maps.shape[1:], others.cell, others.origin):
        return stack
    new = [k for k, c in enumerate(others.classes) if c not in stack.classes]
    classes = (*stack.classes, *(others.classes[k] for k in new))
    order = np.argsort(classes, kind="stable")
    return replace(
        stack,
        classes=tuple(classes[k] for k in order),
        maps=np.concatenate([stack.maps, others.maps[new]])[order],
        peaks=np.concatenate([stack.peaks, others.peaks[new]])[order],
    )


def with_background(rule: LabelRule, background: str) -> LabelRule:
    """Return the rule with another background that crosses the scores at the same place, if it can."""
    if background == "one_minus_max":
        return replace(rule, background=background, value=1.0)
    if background == rule.background:
        return rule
    return with_threshold(replace(rule, background=background, value=0.5), float(rule.threshold()))


def with_threshold(rule: LabelRule, threshold: float) -> LabelRule:
    """Return the rule whose background is crossed at `threshold`; `one_minus_max` stays at a half.

    For `power` the exponent a solves t = (1 - t) ** a.
    """
    if rule.background == "constant":
        return replace(rule, value=round(threshold, 4))
    if rule.background == "power":
        t = min(max(threshold, 1e-4), 1 - 1e-4)
        return replace(rule, value=round(math.log(t) / math.log1p(-t), 4))
    return rule
