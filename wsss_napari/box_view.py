"""Boxes around maps beside true boxes: the figures in words and curves, the rectangles on the image. No Qt."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.boxes import DELTAS, boxes_at, iou, scaled
from engine.results import Figure, Panel, Series
from wsss_napari.layers import Layers

__all__ = ["NUMBERS", "BoxLayers", "Sight", "accuracies", "figure_of", "look", "share", "summary"]

NUMBERS = (
    (
        "max_box_acc",
        "MaxBoxAcc",
        "How often the box around the largest region overlaps a true box by at least 0.5",
    ),
    (
        "max_box_acc_v2",
        "MaxBoxAccV2",
        "How often a box around any region overlaps a true box by at least 0.3, 0.5 and 0.7: the mean of the three",
    ),
    (
        "top1_loc",
        "Top-1 Loc",
        "How often such a box overlaps by at least 0.5 and the classifier puts the right class first",
    ),
)
"""Key in the result, name, meaning."""

_LARGEST = "v1"
_CURVES = {**{str(d): f"overlap {d:g}" for d in DELTAS}, _LARGEST: "0.5, largest"}
_BARS = 40
# A noisy map has thousands of specks, and none of them is worth a rectangle.
_DRAWN = 200
_PREDICTED, _TRUTH = "boxes:predicted", "boxes:truth"


def share(value: float | None) -> str:
    """Return a share as a percentage, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def summary(result: Mapping[str, Any]) -> str:
    """Return what stands under the three figures."""
    at = ", ".join(f"{share(result['at'][str(d)])} at {d:g}" for d in DELTAS)
    parts = [
        f"Boxes of all regions: {at}.",
        f"{_count(result['pairs'], 'pair')} of image and class, {_count(result['images'], 'image')}"
        + (f", classified right {share(result['top1_cls'])}." if result["top1_cls"] is not None else "."),
        "Each threshold is the best one over all of them, chosen with the true boxes: an upper bound.",
    ]
    if result["top1_cls"] is None:
        parts.append("These maps come without a classifier's scores, so there is no Top-1.")
    for entry in result["passed_over"]:
        parts.append(f"Passed over: {entry['count']:,} {entry['why']}.")
    return " ".join(parts)


def accuracies(result: Mapping[str, Any], threshold: float) -> dict[str, float]:
    """Return the accuracy at a threshold for each overlap, and as `v1` that of the largest region."""
    curve = result["curve"]
    # The grid holds the first threshold of each cut; all up to the next cut alike.
    k = max(0, bisect_right(curve["threshold"], threshold + 1e-9) - 1)
    return {name: curve[name][k] for name in _CURVES}


def figure_of(result: Mapping[str, Any]) -> Figure:
    """Return the curves of accuracy against threshold, the overlaps, and the classes."""
    curve, best = result["curve"], result["thresholds"]
    # The marks often lie close together, where several words could not be read.
    marks = tuple(
        (best[name], accuracies(result, best[name])[name], f"best {best[name]:g}" if name == "0.5" else "")
        for name in _CURVES
    )
    panels = [
        Panel(
            "Accuracy of boxes",
            "lines",
            "threshold",
            "share of pairs",
            tuple(Series(words, curve["threshold"], curve[name]) for name, words in _CURVES.items()),
            marks=marks,
        ),
        Panel(
            f"Best overlap at threshold {best['0.5']:g}",
            "histogram",
            "overlap (IoU)",
            "pairs",
            (Series("pairs", result["iou_histogram"]["edges"], result["iou_histogram"]["counts"]),),
        ),
    ]
    classes = result["per_class"]
    if 1 < len(classes) <= _BARS:
        heights = tuple(figures["mean"] for figures in classes.values())
        panels.append(
            Panel(
                "MaxBoxAccV2 of each class",
                "bars",
                "",
                "share of pairs",
                (Series("MaxBoxAccV2", tuple(range(len(classes))), heights),),
                categories=tuple(classes),
            )
        )
    return Figure(
        "boxes",
        "Accuracy of boxes",
        "How often a box around what lies above the threshold overlaps a true box of the class; the marks "
        "are the best thresholds, one for all images. Boxes of all regions count, but for the curve of the "
        "largest region.",
        tuple(panels),
        rows={
            "threshold": curve["threshold"],
            **{words: curve[name] for name, words in _CURVES.items()},
        },
        facts={"run": result["source"], "split": result["split"] or "all", "images": result["images"]},
    )


@dataclass(frozen=True, eq=False)
class Sight:
    """The boxes of one class on one image.

    Attributes:
        predicted: Corners [4, 2] (y, x) px of the image of each box, the one of the largest region first.
        truth: Corners of each true box.
        overlap: Best overlap of any pair of them in [0, 1], or None where one of the two is missing.
        count: How many boxes there are; the smallest of many are not among `predicted`.
    """

    predicted: list[NDArray[np.float64]]
    truth: list[NDArray[np.float64]]
    overlap: float | None
    count: int


def look(
    heat: NDArray[np.float64],
    size: tuple[int, int],
    threshold: float,
    truth: Sequence[tuple[float, float, float, float]],
) -> Sight:
    """Return the boxes of a map as they are measured, placed on the image.

    Args:
        heat: [h, w] float, the map of the class as `engine.boxes.resampled` enlarged it.
        size: (H, W) of the image.
        threshold: Share of the map's maximum, in [0, 1].
        truth: True boxes of the class, px of the image with both ends inside.
    """
    found = boxes_at(heat, threshold)
    (largest,) = boxes_at(heat, threshold, largest=True)
    true_boxes = [scaled(box, size, heat.shape) for box in truth]
    empty = found == [(0, 0, 0, 0)]
    overlap = None
    if true_boxes and not empty:
        overlap = float(iou(np.array(found, np.int64), np.array(true_boxes, np.int64)).max())
    ranked = sorted(found, key=lambda b: (b != largest, -(b[2] - b[0]) * (b[3] - b[1])))
    factor = (size[0] / heat.shape[0], size[1] / heat.shape[1])
    return Sight(
        # A found box ends one pixel behind its region, a true one with its last pixel.
        predicted=[] if empty else [_corners(*box, factor) for box in ranked[:_DRAWN]],
        truth=[_corners(x0, y0, x1 + 1, y1 + 1, (1, 1)) for x0, y0, x1, y1 in truth],
        overlap=overlap,
        count=0 if empty else len(found),
    )


class BoxLayers:
    """The two layers of boxes: predicted ones in the class's colour, true ones white on black.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        # Key -> what its layer shows: napari takes tens of milliseconds to draw the same again.
        self._drawn: dict[str, tuple[str, bytes, list[str], list[float]]] = {}

    def clear(self) -> None:
        """Take both away."""
        self._layers.remove(_PREDICTED)
        self._layers.remove(_TRUTH)

    def show(self, image: str, name: str, colour: str, sight: Sight, size: tuple[int, int]) -> None:
        """Show what is seen of a class; the largest region's box is drawn twice as wide as the others.

        Args:
            image: Stem of the image.
            name: Name of the class.
            colour: Its `#RRGGBB`.
            sight: What is there.
            size: (H, W) of the image.
        """
        width = max(size) / 160
        count = len(sight.predicted)
        widths = [width if i == 0 else width / 2 for i in range(count)]
        self._draw(_PREDICTED, f"{image} · boxes · {name}", sight.predicted, [colour] * count, widths)
        # White is seen on dark ground and its black border on bright.
        twice = [box for box in sight.truth for _ in range(2)]
        shades = ["black", "white"] * len(sight.truth)
        self._draw(
            _TRUTH, f"{image} · true boxes · {name}", twice, shades, [width, width / 2] * len(sight.truth)
        )

    def _draw(
        self,
        key: str,
        name: str,
        boxes: list[NDArray[np.float64]],
        colours: list[str],
        widths: list[float],
    ) -> None:
        if not boxes:
            self._layers.remove(key)
            return
        wanted = (name, np.stack(boxes).tobytes(), colours, widths)
        fresh = self._layers.get(key) is None
        before = None if fresh else self._drawn.get(key)
        if before == wanted:
            return
        self._drawn[key] = wanted
        layer = self._layers.show_shapes(
            key,
            boxes,
            name,
            shape_type="rectangle",
            face_color="transparent",
            edge_color=colours,
            edge_width=widths,
        )
        if not fresh and (before is None or before[2:] != (colours, widths)):
            layer.edge_color = colours
            layer.edge_width = widths
        # napari makes a layer editable anew with its data; an edited box would change no figure.
        layer.editable = False


def _corners(x0: float, y0: float, x1: float, y1: float, factor: tuple[float, float]) -> NDArray[np.float64]:
    """Return the corners [4, 2] (y, x) of a box that ends before x1, y1; napari's pixels are centred on whole numbers."""
    top, bottom = y0 * factor[0] - 0.5, y1 * factor[0] - 0.5
    left, right = x0 * factor[1] - 0.5, x1 * factor[1] - 0.5
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
