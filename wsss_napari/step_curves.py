"""The numbers of a climb over its steps: scores, penalty, map, and agreement with the truth. No Qt."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.labels import LabelRule
from engine.results import ClimbPath, ClimbTrace, enlarge

__all__ = ["GrowingCurves", "StepCurves", "step_curves"]

Curve = NDArray[np.float64]
VOID = 255


@dataclass(frozen=True, eq=False)
class StepCurves:
    """One number a step and quantity; NaN where a quantity is not defined.

    Attributes:
        cls: 0-based class that is climbed.
        steps: [T + 1] int, 0..T.
        scores: [T + 1, C] float32, pooled scores of all classes.
        penalty: [T + 1] lambda-weighted penalty, inside M and on the rest of D together.
        background_share: [T + 1] part of the penalty that comes from D alone, in [0, 1].
        peak, mean: [T + 1] of the raw map R^t.
        area: [T + 1] share of the image on which A_t exceeds the threshold.
        iou: [T + 1] of the class where A_t exceeds the threshold, or None without truth; all
            other classes of the truth count as not this class, void pixels are left out.
        miou: [T + 1] mean of the IoU of the class and of all the rest.
        noise: [T + 1] share of predicted foreground whose truth is background (paper, fig. 11b).
    """

    cls: int
    steps: NDArray[np.int64]
    scores: NDArray[np.float32]
    penalty: Curve
    background_share: Curve
    peak: Curve
    mean: Curve
    area: Curve
    iou: Curve | None = None
    miou: Curve | None = None
    noise: Curve | None = None

    @property
    def last(self) -> int:
        """The last step; -1 when there is none."""
        return len(self.steps) - 1

    @property
    def best(self) -> int | None:
        """The first step with the highest mIoU, or None without truth."""
        if self.miou is None or not np.isfinite(self.miou).any():
            return None
        return int(np.nanargmax(self.miou))

    def csv(self, names: Sequence[str]) -> str:
        """Return one line a step: its number, every score by class name, and all the rest."""
        columns: dict[str, NDArray[np.float64] | NDArray[np.float32]] = {
            **{f"score of {names[k]}": self.scores[:, k] for k in range(self.scores.shape[1])},
            "penalty": self.penalty,
            "share of the penalty on the background": self.background_share,
            "maximum of the map": self.peak,
            "mean of the map": self.mean,
            "area over the threshold": self.area,
        }
        for name, curve in (("IoU", self.iou), ("mIoU", self.miou), ("noise", self.noise)):
            if curve is not None:
                columns[name] = curve
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["step", *columns])
        for n, step in enumerate(self.steps):
            values = (float(curve[n]) for curve in columns.values())
            writer.writerow([int(step), *("" if np.isnan(v) else f"{v:.6g}" for v in values)])
        return out.getvalue()


def step_curves(path: ClimbPath, rule: LabelRule, truth: NDArray[np.uint8] | None) -> StepCurves:
    """Return the curves of a path.

    Args:
        path: The climb.
        rule: Its threshold, or the upper end of its ignore band, decides what is foreground;
            unsure pixels count as background, as in `engine.metrics`.
        truth: [H, W] uint8, 0 background, class index + 1, 255 void, or None.

    Raises:
        UserError: The truth has another size than the image, or the climb is damaged.
    """
    return GrowingCurves(rule, truth).update(path)


class GrowingCurves:
    """Follows a climb: steps whose maps are those of the last call are not computed anew.

    Args:
        rule, truth: As for `step_curves`.
    """

    def __init__(self, rule: LabelRule, truth: NDArray[np.uint8] | None) -> None:
        self._truth = truth
        self._limit = np.float32(rule.limits()[1])
        self._seen = _Seen()

    def set_rule(self, rule: LabelRule) -> None:
        """Use another threshold from the next call on."""
        limit = np.float32(rule.limits()[1])
        if limit != self._limit:
            self._limit, self._seen = limit, _Seen()

    def update(self, path: ClimbPath) -> StepCurves:
        """Return the curves of a path, of which steps may have come or gone.

        Raises:
            UserError: The truth has another size than the image, or the climb is damaged.
        """
        leaf = path.leaf
        maps = path.stacked("maps")  # [T + 1, h, w] float16
        how = (leaf.image, leaf.cls, leaf.size, leaf.cell, leaf.origin, leaf.settings.get("aggregate"))
        seen = self._seen if self._seen.how == how else _Seen(how)
        kept = seen.same(maps)
        measure = _Measure(leaf, self._truth, self._limit)
        total = seen.totals[kept - 1].copy() if kept else np.zeros(leaf.grid, np.float32)
        totals, numbers = seen.totals[:kept], seen.numbers[:kept]
        for heat in maps[kept:]:
            raw = heat.astype(np.float32)
            total = total + raw
            totals.append(total)
            numbers.append(measure(raw, raw if how[-1] == "last" else total))
        self._seen = replace(seen, maps=maps, totals=totals, numbers=numbers)
        return _curves(path, np.asarray(numbers, np.float64).reshape(-1, len(_COLUMNS)), measure)


_COLUMNS = ("peak", "mean", "area", "iou", "miou", "noise")


@dataclass(frozen=True)
class _Seen:
    """What the last call saw: maps, their running sums, and the numbers of each step."""

    how: tuple[object, ...] = ()
    maps: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 1, 1), np.float16))
    totals: list[NDArray[np.float32]] = field(default_factory=list)
    numbers: list[tuple[float, ...]] = field(default_factory=list)

    def same(self, maps: NDArray[np.float16]) -> int:
        """Return how many first steps have the same maps.

        The maps themselves are compared: an id is given again after its climb was removed.
        """
        if self.maps.shape[1:] != maps.shape[1:]:
            return 0
        n = min(len(self.maps), len(maps))
        differ = (self.maps[:n] != maps[:n]).any(axis=(1, 2))
        return int(np.argmax(differ)) if differ.any() else n


class _Measure:
    """Finds the numbers of one step from R^t and from the sum behind A_t."""

    def __init__(self, leaf: ClimbTrace, truth: NDArray[np.uint8] | None, limit: np.float32) -> None:
        self._leaf, self._limit = leaf, limit
        h, w = leaf.grid
        # What a cell counts for: the pixels that lie nearest to it.
        rows = _nearest(leaf.size[0], h, leaf.cell, leaf.origin)
        columns = _nearest(leaf.size[1], w, leaf.cell, leaf.origin)
        self._weights = np.outer(rows, columns)  # [h, w]
        self.truth = truth is not None
        if truth is None:
            return
        if truth.shape != leaf.size:
            raise UserError(
                f"The truth of {leaf.image} is {truth.shape[1]} x {truth.shape[0]} px, "
                f"the image {leaf.size[1]} x {leaf.size[0]} px.",
                "Accepted: a truth mask of the image's own size.",
                "Check that the truth folder belongs to these images.",
            )
        self._valid = truth != VOID  # [H, W]
        self._is_class = truth == leaf.cls + 1
        self._is_background = truth == 0
        self._pixels = int(np.count_nonzero(self._valid))
        self._of_class = int(np.count_nonzero(self._is_class))
        self._full = np.empty((1, *leaf.size), np.float32)
        self._over = np.empty(leaf.size, bool)
        self._both = np.empty(leaf.size, bool)

    def __call__(self, raw: NDArray[np.float32], total: NDArray[np.float32]) -> tuple[float, ...]:
        top = float(total.max(initial=0))
        heat = total / np.float32(top) if 0 < top < np.inf else np.zeros_like(total)
        area = float(self._weights[heat > self._limit].sum())
        return float(raw.max(initial=0)), float(raw.mean()), area, *self._agreement(heat)

    def _agreement(self, heat: NDArray[np.float32]) -> tuple[float, float, float]:
        """Return IoU, mIoU and noise at image size."""
        if not self.truth:
            return np.nan, np.nan, np.nan
        leaf = self._leaf
        enlarge(heat[None], leaf.size, leaf.cell, leaf.origin, out=self._full)
        np.greater(self._full[0], self._limit, out=self._over)
        hits = int(np.count_nonzero(np.logical_and(self._over, self._is_class, out=self._both)))
        noisy = int(np.count_nonzero(np.logical_and(self._over, self._is_background, out=self._both)))
        over = int(np.count_nonzero(np.logical_and(self._over, self._valid, out=self._both)))
        wrong = (over - hits) + (self._of_class - hits)
        noise = noisy / over if over else np.nan
        if not self._of_class:
            return np.nan, np.nan, noise
        rest = self._pixels - over - self._of_class + hits
        iou = hits / (hits + wrong)
        return iou, (iou + rest / (rest + wrong)) / 2 if rest + wrong else iou, noise


def _curves(path: ClimbPath, numbers: Curve, measure: _Measure) -> StepCurves:
    columns = dict(zip(_COLUMNS, numbers.T, strict=True))
    truth = {name: columns.pop(name) for name in ("iou", "miou", "noise")}
    penalties = path.stacked("penalties").astype(np.float64)  # [T + 1, 2]
    penalty = penalties.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(penalty > 0, penalties[:, 1] / penalty, np.nan)
    return StepCurves(
        cls=path.leaf.cls,
        steps=np.arange(len(numbers)),
        scores=np.array(path.stacked("scores"), np.float32),
        penalty=penalty,
        background_share=share,
        **columns,
        **(truth if measure.truth else {}),
    )


def _nearest(pixels: int, cells: int, cell: float, origin: float) -> Curve:
    """Return the share of the pixels that lie nearest to each cell, [cells]."""
    at = np.rint(np.clip((np.arange(pixels) - origin) / cell, 0, cells - 1)).astype(np.intp)
    return np.bincount(at, minlength=cells) / pixels
