"""Scribbles that spread: a few lines per class, and the photograph fills in the rest around them.

    strokes = [Stroke(3, [(40, 50), (60, 90)], 5), Stroke(0, [(10, 10), (10, 120)], 5)]
    box, after = propagate(photo, mask, draw(strokes, mask.shape))

A random walker (see `_diffusion`) starts from the scribbles; what the mask holds, and the class
maps where there are any, are its prior, so that far from every scribble nothing moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from engine.labels import UNSURE
from engine.tools._diffusion import beliefs, coarse, coarse_seeds, factor_for, fine, shrunk
from engine.tools.boxes import EMPTY, Change, Image, Mask, Point, changed, cut, grown, tight
from engine.tools.threshold import brush

__all__ = ["Seeds", "Stroke", "draw", "propagate"]

Seeds = npt.NDArray[np.int16]

# Measured on photographs: with scribbles along and around an object the walker meets its outline
# better than with the plain variance of colours, which a busy background makes too tolerant.
_SHARPNESS = 4.0


@dataclass(frozen=True)
class Stroke:
    """One scribble.

    Args:
        value: What it stands for: 0 background, class + 1, or 255 unsure.
        points: (y, x) in px along it.
        diameter: Of its pen in px.
    """

    value: int
    points: Sequence[Point]
    diameter: float = 3.0


def draw(strokes: Sequence[Stroke], shape: tuple[int, ...]) -> Seeds:
    """Return scribbles as an image, `[H, W]` int16: the value of the last stroke at a pixel, -1 without."""
    seeds = np.full(shape[:2], -1, np.int16)
    for stroke in strokes:
        box, region = brush((int(shape[0]), int(shape[1])), stroke.points, stroke.diameter)
        cut(seeds, box)[region] = stroke.value
    return seeds


def propagate(
    photo: Image,
    mask: Mask,
    seeds: Seeds,
    scores: Mapping[int, npt.NDArray[Any]] | None = None,
    *,
    reach: int | None = None,
    trust: float = 0.03,
) -> Change:
    """Spread scribbles over the part of the photograph around them.

    Args:
        photo: `[H, W, 3]` uint8, RGB.
        mask: `[H, W]` uint8, what stands there: the prior; unsure pixels have none.
        seeds: `[H, W]` int16 of `draw`.
        scores: Value of a class in the mask (class + 1) -> its map `[H, W]` float in [0, 1].
        reach: How far from the scribbles anything may change, in px; None takes half of their
            longer side, at least 32.
        trust: Weight of the prior against one edge of the pixel grid, at `reach` px from the
            nearest scribble. It falls to nothing towards a scribble, and half-way already when
            several values are drawn.

    Returns:
        The change, before any edit mask; pixels under a scribble take its value.
    """
    box, _ = tight(seeds >= 0)
    if box == EMPTY:
        return EMPTY, np.zeros((0, 0), np.uint8)
    if reach is None:
        reach = max(32, max(box[2] - box[0], box[3] - box[1]) // 2)
    box = grown(box, reach, mask.shape)
    before, marks = cut(mask, box), cut(seeds, box)
    drawn = [int(v) for v in np.unique(marks) if v >= 0]
    values = sorted({*drawn, *(int(v) for v in np.unique(before) if v != UNSURE)})
    if len(values) == 1:
        return changed(mask, box, np.full(before.shape, values[0], np.uint8))
    numbers = np.full(before.shape, -1, np.int16)
    for number, value in enumerate(values):
        numbers[marks == value] = number
    prior = _prior(before, values, {v: cut(s, box) for v, s in (scores or {}).items()})
    factor = factor_for(before.size)
    told = coarse(prior, factor)
    starts = coarse_seeds(numbers, factor)
    away = ndimage.distance_transform_edt(starts < 0) * (factor / max(reach, 1))
    if len(drawn) > 1:
        # Between scribbles of several values the scribbles decide alone.
        away = 2 * away - 1
    # A cell's edge stands for as many pixels on either side of it. Some weight stays everywhere, or
    # the equations would have no single answer.
    weight = np.maximum(trust * np.square(np.clip(away, 0.0, 1.0)), 1e-6) * factor * factor
    found = beliefs(
        shrunk(cut(photo, box), factor), starts, told, weight.astype(np.float32), sharpness=_SHARPNESS
    )
    after = np.array(values, np.uint8)[fine(found, before.shape, factor).argmax(axis=0)]
    after[numbers >= 0] = marks[numbers >= 0].astype(np.uint8)
    return changed(mask, box, after)


def _prior(
    before: Mask, values: Sequence[int], scores: Mapping[int, npt.NDArray[Any]]
) -> npt.NDArray[np.float32]:
    """Return `[K, h, w]` float32, sum 1: the mask, halved with the maps where the values have any."""
    prior = np.stack([before == value for value in values]).astype(np.float32)
    prior[:, before == UNSURE] = 1.0 / len(values)
    known = [value for value in values if value in scores]
    if not known:
        return prior
    told = np.zeros_like(prior)
    best = np.zeros(before.shape, np.float32)
    for number, value in enumerate(values):
        if value in scores:
            told[number] = np.clip(scores[value], 0.0, 1.0)
            np.maximum(best, told[number], out=best)
    if 0 in values:
        told[values.index(0)] = 1.0 - best
    total = told.sum(axis=0)
    told = np.where(total > 0, told / np.maximum(total, 1e-6), prior)
    return np.asarray((prior + told) / 2, np.float32)
