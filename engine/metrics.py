"""Compare masks with truth: one confusion over a split, and every threshold in one pass.

Conventions (they differ between published codes, so they are fixed here):

- One confusion for all images of a split, pixels that are void (255) in the truth left out.
- mIoU is the mean over the background and the classes that occur in the truth; IoU of a
  class is TP / (truth + predicted - TP).
- A prediction of 255 (unsure) counts as background, as in IRN's evaluation; `unsure`
  tells the share of such pixels. Any other index without a class is an error.
- Precision and recall are means over the same classes; the precision of a class that is
  never predicted counts as 0. `f1_of_means` is the harmonic mean of the two means,
  `mean_of_f1` the mean of the classes' F1: AdvCAM prints both under one name.
- `noise` is the share of predicted foreground that is background in the truth (AdvCAM,
  Fig. 11b).
- `over_activation` of class c is |predicted c and truth background| / |predicted c| over
  the images that contain c (the PCRE paper leaves it undefined; this is this project's
  definition); `over_activation_of_truth` divides by |truth c| instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.errors import UserError

__all__ = ["THRESHOLDS", "Confusion", "Sweep", "image_report", "report"]

Counts: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.uint8]

VOID = 255
# 0.00, 0.01, ... 0.99: finer than any published sweep, and the curve is flat at this step.
THRESHOLDS: tuple[float, ...] = tuple(round(0.01 * k, 2) for k in range(100))


class Confusion:
    """Pixel counts of a split, added image by image.

    Args:
        n_classes: Number of classes without the background, 1 to 254.

    Attributes:
        counts: `[n + 1, n + 1]` int64, rows truth, columns prediction, index 0 background.
        held: `[n, 2]` int64, without the background: over images that contain the class,
            pixels predicted as the class, and those of them that are background in the truth.
        unsure: Valid pixels that were predicted as 255.
        images: Images added.
    """

    def __init__(self, n_classes: int) -> None:
        if not 1 <= n_classes < VOID:
            raise ValueError(f"{n_classes} classes; a mask holds 1 to {VOID - 1}")
        self.n_classes = n_classes
        self.counts: Counts = np.zeros((n_classes + 1, n_classes + 1), np.int64)
        self.held: Counts = np.zeros((n_classes, 2), np.int64)
        self.unsure = 0
        self.images = 0

    def add(self, truth: Mask, prediction: Mask, name: str = "") -> None:
        """Count one image.

        Args:
            truth, prediction: `[H, W]` uint8, 0 background, class index + 1, 255 void/unsure.
            name: Named in the error.

        Raises:
            UserError: The sizes differ, or an index has no class.
        """
        _same_size(truth, prediction, name)
        # Both indexes packed into sixteen bits: one histogram answers every question at once.
        pairs = truth.astype(np.uint16)
        pairs <<= 8
        pairs |= prediction
        table = np.bincount(pairs.reshape(-1), minlength=1 << 16).reshape(256, 256)  # [truth, prediction]
        n = self.n_classes
        _refuse(table.sum(axis=1), n, f"truth{_of(name)}")
        _refuse(table.sum(axis=0), n, f"prediction{_of(name)}")
        valid = table[: n + 1]
        self.unsure += int(valid[:, VOID].sum())
        counts = valid[:, : n + 1].copy()
        counts[:, 0] += valid[:, VOID]
        present = counts[1:].sum(axis=1) > 0
        self.held[present, 0] += counts[:, 1:][:, present].sum(axis=0)
        self.held[present, 1] += counts[0, 1:][present]
        self.counts += counts
        self.images += 1

    def merge(self, other: Confusion) -> None:
        """Add the counts of another part of the split."""
        if other.n_classes != self.n_classes:
            raise ValueError(f"{other.n_classes} classes cannot be merged into {self.n_classes}")
        self.counts += other.counts
        self.held += other.held
        self.unsure += other.unsure
        self.images += other.images

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """`[n + 1]` bool: the background, and the classes that occur in the truth."""
        present = np.asarray(self.counts.sum(axis=1) > 0)
        # Without any background in the truth it still has an IoU as soon as something is
        # predicted as background; only 0/0 is left out.
        present[0] = bool(self.counts[0].any() or self.counts[:, 0].any())
        return present

    def iou(self) -> Floats:
        """Return `[n + 1]` float64 in [0, 1]; NaN where neither truth nor prediction has the class."""
        hits = self.counts.diagonal()
        return _ratio(hits, self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits)

    def miou(self) -> float | None:
        """Return the mean IoU in [0, 1], or None when no pixel was valid."""
        present = self.present
        return float(self.iou()[present].mean()) if present.any() else None


def report(confusion: Confusion, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the numbers of `wsss evaluate`, JSON-ready; undefined numbers are None.

    Args:
        confusion: The counts of the split.
        class_names: Names without the background, as many as the confusion has classes.
    """
    if len(class_names) != confusion.n_classes:
        raise ValueError(f"{len(class_names)} names for {confusion.n_classes} classes")
    names = ["background", *class_names]
    counts, present = confusion.counts, confusion.present
    hits, predicted, truth = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    precision, recall = _ratio(hits, predicted), _ratio(hits, truth)
    p, r = _mean(np.nan_to_num(precision), present), _mean(np.nan_to_num(recall), present)
    f1 = _mean(np.nan_to_num(_ratio(2 * hits, predicted + truth)), present)
    held, noisy = confusion.held.T

    def per_class(values: Floats, start: int = 0) -> dict[str, float | None]:
        rows = zip(names[start:], values, present[start:], strict=True)
        return {name: _plain(value) if seen else None for name, value, seen in rows}

    return {
        "miou": confusion.miou(),
        "iou": per_class(confusion.iou()),
        "precision": p,
        "recall": r,
        "f1_of_means": None if p is None or r is None else (2 * p * r / (p + r) if p + r else 0.0),
        "mean_of_f1": f1,
        "noise": _plain(_ratio(counts[0, 1:].sum(), counts[:, 1:].sum())),
        "over_activation": per_class(_ratio(noisy, held), 1),
        "over_activation_of_truth": per_class(_ratio(noisy, truth[1:]), 1),
        "class_precision": per_class(precision),
        "class_recall": per_class(recall),
        "classes_used": int(present.sum()),
        "unsure": _plain(_ratio(np.int64(confusion.unsure), counts.sum())),
        "images": confusion.images,
    }


class Sweep:
    """The confusion at every threshold from one look at each pixel.

    A pixel is foreground at threshold t when `best > t` in single precision, as
    `labels.apply` decides it. One histogram over (thresholds below the pixel's score,
    truth, winning class) is kept; its reversed running sum gives the foreground counts at
    each threshold. The counts equal those of the loop over thresholds to the pixel.

    Args:
        thresholds: Ascending, in [0, 1].
        n_classes: Number of classes without the background.
    """

    def __init__(self, thresholds: Iterable[float], n_classes: int) -> None:
        self.thresholds = np.array(list(thresholds), np.float32)
        if not len(self.thresholds) or np.any(np.diff(self.thresholds) <= 0):
            raise ValueError("thresholds must be ascending and at least one")
        if not 0 <= self.thresholds[0] <= self.thresholds[-1] <= 1:
            raise ValueError("thresholds must lie in [0, 1]")
        self.n_classes = n_classes
        self.images = 0
        steps = len(self.thresholds) + 1
        self._counts: Counts = np.zeros((steps, n_classes + 1, n_classes), np.int64)
        self._held: Counts = np.zeros((steps, n_classes, 2), np.int64)
        self._tables = _rank_tables(self.thresholds)

    def add(
        self, best: npt.NDArray[np.float32], which: Mask, classes: Sequence[int], truth: Mask, name: str = ""
    ) -> None:
        """Count one image.

        Args:
            best, which: From `labels.best_class`, `[H, W]` float32 and uint8.
            classes: Class index (0-based) of each map.
            truth: `[H, W]` uint8, 0 background, class index + 1, 255 void.
            name: Named in the error.

        Raises:
            UserError: The sizes differ, or the truth holds an index without a class.
        """
        _same_size(truth, best, name)
        if best.dtype != np.float32:
            raise ValueError(f"scores are {best.dtype}, not float32: ties would fall elsewhere")
        n, steps = self.n_classes, len(self.thresholds) + 1
        local = list(classes) or [0]  # without a map all scores are 0 and no threshold is below them
        if max(local) >= n or int(which.max(initial=0)) >= len(local):
            raise ValueError("a map without a class")
        if np.any((truth > n) & (truth != VOID)):
            _refuse(np.bincount(truth.reshape(-1), minlength=256), n, f"truth{_of(name)}")
        rows, width = n + 2, len(local)  # the background, the classes, void
        pair = np.minimum(truth, n + 1).reshape(-1).astype(np.uint16)
        pair *= width
        pair += which.reshape(-1)
        code = self._ranks(best.reshape(-1))
        code *= rows * width
        code += pair
        found = np.bincount(code.astype(np.intp), minlength=steps * rows * width).reshape(steps, rows, width)
        valid = found[:, : n + 1]  # [steps, truth, map]
        present = valid.sum(axis=(0, 2)) > 0
        for k, c in enumerate(local):
            self._counts[:, :, c] += valid[:, :, k]
            if present[c + 1]:
                self._held[:, c, 0] += valid[:, :, k].sum(axis=1)
                self._held[:, c, 1] += valid[:, 0, k]
        self.images += 1

    def merge(self, other: Sweep) -> None:
        """Add the counts of another part of the split."""
        if other.n_classes != self.n_classes or not np.array_equal(other.thresholds, self.thresholds):
            raise ValueError("only sweeps over the same thresholds and classes can be merged")
        self._counts += other._counts
        self._held += other._held
        self.images += other.images

    def result(self, k: int) -> Confusion:
        """Return the confusion at the k-th threshold."""
        confusion = Confusion(self.n_classes)
        confusion.counts[:, 1:] = self._counts[k + 1 :].sum(axis=0)
        confusion.counts[:, 0] = self._counts.sum(axis=(0, 2)) - confusion.counts[:, 1:].sum(axis=1)
        confusion.held[:] = self._held[k + 1 :].sum(axis=0)
        confusion.images = self.images
        return confusion

    def report(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return `report` at the best threshold, with the whole curve.

        Beside the numbers of `report`: `threshold` (the lowest of the best ones; chosen
        with the truth, so it is an upper bound), `curve` with one list each of threshold,
        miou, precision, recall and noise, and `robustness`, the mean mIoU over the
        thresholds within 0.05 of the best.
        """
        reports = [report(self.result(k), class_names) for k in range(len(self.thresholds))]
        best = max(range(len(reports)), key=lambda k: (reports[k]["miou"] or 0.0, -k))
        shown = [round(float(t), 6) for t in self.thresholds]
        near = [
            r["miou"] or 0.0
            for r, t in zip(reports, shown, strict=True)
            if abs(t - shown[best]) < 0.05 + 1e-6
        ]
        curve: dict[str, list[Any]] = {"threshold": shown}
        for name in ("miou", "precision", "recall", "noise"):
            curve[name] = [r[name] for r in reports]
        return {
            **reports[best],
            "threshold": shown[best],
            "robustness": sum(near) / len(near),
            "curve": curve,
        }

    def _ranks(self, best: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
        # How many thresholds lie below each score, several times faster than a binary search.
        bits = np.ascontiguousarray(best).view(np.uint32)
        bucket = (bits >> np.uint32(16)).astype(np.intp)
        low = bits & np.uint32(0xFFFF)
        ranks = np.zeros(best.shape, np.uint32)
        for table in self._tables:
            found = table[bucket]
            found += low
            found >>= np.uint32(16)
            ranks += found
        return ranks


def image_report(truth: Mask, mask: Mask, class_names: Sequence[str]) -> dict[str, Any]:
    """Return IoU, precision and recall of one image, for the window.

    Returns:
        `miou`, `unsure` (shares in [0, 1]) and `classes`: name -> {iou, precision,
        recall} for the background and each class in the truth or in the mask; undefined
        numbers are None.
    """
    confusion = Confusion(len(class_names))
    confusion.add(truth, mask)
    counts = confusion.counts
    hits, predicted, real = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    rows = zip(
        ["background", *class_names],
        confusion.iou(),
        _ratio(hits, predicted),
        _ratio(hits, real),
        predicted + real,
        strict=True,
    )
    return {
        "miou": confusion.miou(),
        "unsure": _plain(_ratio(np.int64(confusion.unsure), counts.sum())),
        "classes": {
            name: {"iou": _plain(i), "precision": _plain(p), "recall": _plain(r)}
            for name, i, p, r, seen in rows
            if seen
        },
    }


def _rank_tables(thresholds: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint32]]:
    """Tables that turn the bits of a score into the number of thresholds below it.

    Floats of one sign are ordered as their bits are. The upper half of the bits chooses an
    entry of `[65536]` uint32, whose upper half counts the thresholds below every score of
    that bucket, and whose lower half is 65535 - (lower half of the threshold inside the
    bucket): adding the score's lower half carries exactly when the score is the larger.
    Thresholds that share a bucket need a table each.
    """
    bits = thresholds.view(np.uint32)
    homes, low = (bits >> np.uint32(16)).astype(np.intp), bits & np.uint32(0xFFFF)
    first = np.searchsorted(homes, homes)
    places = np.arange(len(homes)) - first
    below = np.searchsorted(homes, np.arange(1 << 16)).astype(np.uint32)
    below[0x7F81:] = 0  # NaN and negative scores exceed nothing
    tables = [below << np.uint32(16)]
    for place in range(int(places.max()) + 1):
        if place:
            tables.append(np.zeros(1 << 16, np.uint32))
        here = places == place
        tables[place][homes[here]] += np.uint32(0xFFFF) - low[here]
    return tables


def _ratio(top: Any, bottom: Any) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.true_divide(top, bottom)
    # x / 0 with x > 0 cannot be shown either; both are undefined.
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _mean(values: Floats, present: npt.NDArray[np.bool_]) -> float | None:
    return float(values[present].mean()) if present.any() else None


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _same_size(truth: npt.NDArray[Any], other: npt.NDArray[Any], name: str) -> None:
    if truth.shape != other.shape:
        raise UserError(
            f"The truth{_of(name)} is {_size(truth)}, the prediction {_size(other)}.",
            "Accepted: a truth mask of the image's own size.",
            "Check that the truth folder belongs to these images.",
        )


def _size(array: npt.NDArray[Any]) -> str:
    return "x".join(str(side) for side in reversed(array.shape)) + " pixels"


def _refuse(pixels: Counts, n_classes: int, where: str) -> None:
    wrong = np.flatnonzero(pixels[n_classes + 1 : VOID])
    if len(wrong):
        raise UserError(
            f"The {where} holds the index {wrong[0] + n_classes + 1}.",
            f"Accepted: 0 for background, 1 to {n_classes} for the classes, {VOID} for void.",
            "Check the class list that the masks were made with.",
        )
