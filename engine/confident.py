"""Labels to learn affinities from: a class where one is sure of it, background where one is sure of that.

The maps are cut twice, both cuts are refined by the CRF in one go, and what they agree on is
kept; the rest is unsure:

    irn   two constant thresholds, hard labels (Ahn et al., "Weakly supervised learning of instance
          segmentation with inter-pixel relations", CVPR 2019, section 4.1)
    psa   two powers of the background score, soft scores (Ahn and Kwak, "Learning pixel-level semantic
          affinity", CVPR 2018, section 3.2)

Published constants belong to the maps they were found on: 0.3 takes half the background of a
network whose maps are best cut at 0.4. Left open, both cuts lie a margin to either side of the
split of all scores into two groups (Otsu's), which needs no truth:

    counts = sum(score_histogram(stack.maps) for stack in stacks)
    params = settled(params, counts)
    label, sure, possible = confident(image, stack.full(), stack.classes, params)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.crf import CRFParams, join_sides, refine_together, unary_of_labels, unary_of_scores
from engine.errors import UserError
from engine.labels import LabelRule, best_class
from engine.params import Spec, parse

__all__ = [
    "ConfidentParams",
    "confident",
    "score_histogram",
    "settled",
    "split_of",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Image: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.uint8]

_BINS = 256
# How far from the split one is sure; authors of later methods advise the same (ReCAM, issue 15).
_MARGIN = 0.1


@dataclass(frozen=True)
class ConfidentParams:
    """Where the maps are cut and how the cuts are refined.

    Raises:
        UserError: The cuts are in the wrong order.
    """

    kind: Annotated[
        Literal["irn", "psa"],
        Spec("irn: two thresholds and hard labels; psa: two powers of the background score and soft scores."),
    ] = "irn"
    foreground: Annotated[
        float | None,
        Spec("Score above which a class is sure; none finds it from the maps.", low=0, high=1, main=True),
    ] = None
    background: Annotated[
        float | None,
        Spec("Score up to which background is sure; none finds it from the maps.", low=0, high=1, main=True),
    ] = None
    power_low: Annotated[
        float | None,
        Spec(
            "psa: power of the sure side in place of `foreground`; none takes that which crosses there.",
            low=0.01,
            high=1000,
        ),
    ] = None
    power_high: Annotated[
        float | None,
        Spec(
            "psa: power of the possible side in place of `background`; none takes that which crosses there.",
            low=0.01,
            high=1000,
        ),
    ] = None
    crf: Annotated[
        Literal["own", "irn", "psa", "deeplab", "afa"],
        Spec("Widths of the CRF by their preset; own is that of the kind."),
    ] = "own"

    PRESETS: ClassVar[dict[str, dict[str, object]]] = {
        "irn": {"foreground": 0.3, "background": 0.05},
        "advcam": {"foreground": 0.35, "background": 0.15},
        "psa": {"kind": "psa", "power_low": 4.0, "power_high": 32.0},
    }

    def __post_init__(self) -> None:
        _check_order(
            "background", self.background, "foreground", self.foreground, "what lies between is unsure"
        )
        _check_order(
            "power_low", self.power_low, "power_high", self.power_high, "a low power is a large background"
        )

    def open(self) -> bool:
        """Return whether a cut is still to be found from the maps."""
        return any(cut is None and power is None for cut, power in self._sides())

    def rules(self) -> tuple[LabelRule, LabelRule]:
        """Return the rule that is sure of its foreground and the one that is sure of its background.

        Raises:
            UserError: A power and a threshold of the other side are in the wrong order.
            ValueError: A cut is still open; see `settled`.
        """
        sure, possible = (self._rule(cut, power) for cut, power in self._sides())
        if sure.threshold() < possible.threshold():
            raise UserError(
                f"The sure side begins at a score of {sure.threshold():.3g}, the possible one at "
                f"{possible.threshold():.3g}.",
                "Accepted: the sure side at or above the possible one.",
                "Give both powers or none.",
            )
        return sure, possible

    def _sides(self) -> tuple[tuple[float | None, float | None], ...]:
        if self.kind == "irn":
            return (self.foreground, None), (self.background, None)
        return (self.foreground, self.power_low), (self.background, self.power_high)

    def _rule(self, cut: float | None, power: float | None) -> LabelRule:
        if power is not None:
            return LabelRule("power", power)
        if cut is None:
            raise ValueError("the cuts are open: settle them first")
        if self.kind == "irn":
            return LabelRule("constant", cut)
        return LabelRule("power", 1.0, (cut, cut)).sides()[0]


def score_histogram(maps: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return how often each best class score occurs, `[256]` int64; add them up over a split.

    Args:
        maps: `[K, h, w]` float in [0, 1], at any size; no map counts nothing.
    """
    if not len(maps):
        return np.zeros(_BINS, np.int64)
    best = best_class(maps)[0]
    return np.bincount(np.minimum(best * _BINS, _BINS - 1).astype(np.intp).reshape(-1), minlength=_BINS)


def split_of(histogram: npt.NDArray[np.int64]) -> float:
    """Return the score that splits a histogram into two groups of least spread (Otsu 1979).

    Args:
        histogram: `[B]` int64, counts of scores in [0, 1].

    Returns:
        A border between two of its bins, in (0, 1); the middle of those that split alike.

    Raises:
        UserError: It is empty.
    """
    total = int(histogram.sum())
    if not total:
        raise UserError(
            "There is no score to find the thresholds from.",
            "Accepted: images with at least one map of a class.",
            "Tag some of the images, or give `foreground` and `background` as numbers.",
        )
    scores = (np.arange(len(histogram)) + 0.5) / len(histogram)
    below = np.cumsum(histogram)[:-1].astype(np.float64)  # [B-1], at every border
    moment = np.cumsum(histogram * scores)
    product = below * (total - below)
    # Between-group variance, up to a factor.
    apart = np.square(moment[-1] * below / total - moment[:-1]) / np.where(product > 0, product, np.inf)
    best = np.flatnonzero(apart >= apart.max() * (1 - 1e-9))
    return float(best.mean() + 1) / len(histogram)


def settled(params: ConfidentParams, histogram: npt.NDArray[np.int64]) -> ConfidentParams:
    """Return the parameters with the open cuts set a margin from the split of the scores.

    The margin is 0.1, or half the way to 0 or 1 where that is nearer.

    Args:
        params: The parameters; cuts that are given stay.
        histogram: Of the best class scores of the split, see `score_histogram`.

    Raises:
        UserError: There is no score, or a given cut lies on the wrong side of the found one.
    """
    if not params.open():
        return params
    split = split_of(histogram)
    high = round(min(split + _MARGIN, (1 + split) / 2), 4)
    low = round(max(split - _MARGIN, split / 2), 4)
    return replace(
        params,
        foreground=high if params.foreground is None else params.foreground,
        background=low if params.background is None else params.background,
    )


def confident(
    image: Image, maps: Floats, classes: Sequence[int], params: ConfidentParams
) -> tuple[Mask, Mask, Mask]:
    """Return the label to learn from, and the two refined masks it was joined from.

    Args:
        image: `[H, W, 3]` uint8.
        maps: `[K, H, W]` float32 in [0, 1].
        classes: Class index (0-based) of each map; without any all is background.
        params: Settled parameters.

    Returns:
        confident, sure, possible: `[H, W]` uint8 each, 0 background, class + 1, 255 unsure
        (the first only).

    Raises:
        UserError: pydensecrf cannot be imported.
    """
    if maps.shape != (len(classes), *image.shape[:2]):
        raise ValueError(f"maps {maps.shape} of {len(classes)} classes for an image {image.shape}")
    if not len(classes):
        blank = np.zeros(image.shape[:2], np.uint8)
        return blank, blank.copy(), blank.copy()
    best, which = best_class(maps)
    unaries = []
    crf = parse(CRFParams, {"preset": params.kind if params.crf == "own" else params.crf})
    for rule in params.rules():
        if params.kind == "irn":
            hard = np.where(best > rule.threshold(), which + 1, 0).astype(np.uint8)
            unaries.append(unary_of_labels(hard, len(maps) + 1, crf.gt_prob))
        else:
            unaries.append(unary_of_scores(np.concatenate([rule.scores(best)[None], maps])))
    values = np.array([0, *(c + 1 for c in classes)], np.uint8)
    sure, possible = (values[q.argmax(axis=0)] for q in refine_together(image, unaries, crf))
    return join_sides(sure, possible, strict=params.kind == "psa"), sure, possible


def _check_order(low: str, at_low: float | None, high: str, at_high: float | None, meaning: str) -> None:
    if at_low is not None and at_high is not None and at_low > at_high:
        raise UserError(
            f"{low} = {at_low:g} lies above {high} = {at_high:g}.",
            f"Accepted: {low} up to {high}; {meaning}.",
            "Exchange the two, or leave both out.",
        )
