"""What a person can do at a place: each tool of the Correct page, with its cost."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon as filled_polygon
from skimage.measure import approximate_polygon, find_contours

from engine import tools
from engine.annotator.aim import Aim, error_stroke
from engine.annotator.costs import COSTS, VERTEX, stroke

__all__ = ["TOOLS", "Case", "Move", "moves"]

TOOLS = (
    "brush",
    "polygon",
    "superpixel",
    "click",
    "scribble",
    "snap",
    "tidy",
    "fill",
    "region",
    "threshold",
    "whole",
)
"""`threshold`, `whole`, and `region` where something is missing, copy from the engine's maps and labels and do nothing without."""

_SIZES = (256, 1024)
# px by which a class is grown or shrunk at once.
_RIMS = (2, 5)
_THRESHOLDS = (0.3, 0.5, 0.7)
# Where the slider of the whole image stops: it is moved until the preview looks right.
_WHOLE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# px; how far an outline may run beside the border before a person sets one more vertex.
_TOLERANCE = 1.5
_BACKGROUND = 0
# px around all that is or should be of the class: no tool reaches further.
_MARGIN = 96


@dataclass(frozen=True, eq=False)
class Case:
    """One class of one image to be corrected.

    Attributes:
        stem: The image.
        photo: [H, W, 3] uint8.
        start: [H, W] uint8, the mask that the person is shown.
        truth: [H, W] uint8, 255 void.
        value: The class's value in both.
        scores: [n, H, W] float32 in [0, 1], the engine's maps of the class, that of the labels first;
            None without the engine.
        others: [m, H, W] uint8, the image in other label sets; None without the engine, or without any.
    """

    stem: str
    photo: NDArray[np.uint8]
    start: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    value: int
    scores: NDArray[np.float32] | None = None
    others: NDArray[np.uint8] | None = None

    @property
    def priors(self) -> tuple[NDArray[np.float32] | None, ...]:
        """What clicks and scribbles can lean on, [H, W] each: no map (None), or the one the labels come from."""
        return (None,) if self.scores is None else (None, self.scores[0])

    def window(self) -> Case:
        """Return the part of the image in which the class is, should be, or may come to be."""
        there = (self.start == self.value) | (self.truth == self.value)
        if self.scores is not None:
            there |= (self.scores > min(_WHOLE)).any(0)
        if self.others is not None:
            there |= (self.others == self.value).any(0)
        box, _ = tools.tight(there)
        box = tools.grown(box, _MARGIN, self.start.shape)
        return replace(
            self,
            photo=tools.cut(self.photo, box),
            start=tools.cut(self.start, box),
            truth=tools.cut(self.truth, box),
            scores=None if self.scores is None else np.stack([tools.cut(m, box) for m in self.scores]),
            others=None if self.others is None else np.stack([tools.cut(m, box) for m in self.others]),
        )

    @functools.cached_property
    def superpixels(self) -> Mapping[int, NDArray[np.int32]]:
        """Size -> [H, W] int32."""
        return {size: tools.superpixels(self.photo, "slic", size) for size in _SIZES}


@dataclass(frozen=True, eq=False)
class Move:
    """One action and what the mask would be after it.

    Attributes:
        tool: One of `TOOLS`.
        cost: In seconds.
        box: (y0, x0, y1, x1).
        after: [y1 - y0, x1 - x0] uint8.
    """

    tool: str
    cost: float
    box: tools.Box
    after: NDArray[np.uint8] = field(repr=False)


def moves(
    tool: str, case: Case, mask: NDArray[np.uint8], aim: Aim, clicks: list[tools.Click]
) -> Iterator[Move]:
    """Yield what a tool can do at a place, its options tried in turn as a person learns to choose them.

    Args:
        tool: One of `TOOLS`.
        case: The image and its class.
        mask: [H, W] uint8, as it stands.
        aim: Where.
        clicks: Clicks of before, for the tool that remembers them.
    """
    value = case.value if aim.positive else _BACKGROUND
    match tool:
        case "brush":
            points, length, diameter = error_stroke(aim)
            box, region = tools.brush(_size(mask), points, diameter)
            yield _painted(tool, stroke(tool, length), mask, (box, region), value)
        case "polygon":
            outline = _outline(aim.region)
            region = np.zeros(mask.shape, bool)
            region[filled_polygon(outline[:, 0], outline[:, 1], mask.shape)] = True
            yield _painted(tool, VERTEX * len(outline), mask, tools.tight(region), value)
        case "superpixel":
            for ids in case.superpixels.values():
                yield _painted(tool, COSTS[tool], mask, tools.pick(ids, [aim.point]), value)
        case "click":
            new = [*clicks, tools.Click(*aim.point, aim.positive)]
            for prior in case.priors:
                box, after = tools.apply_clicks(case.photo, mask, new, case.value, prior)
                yield Move(tool, COSTS[tool], box, after)
        case "scribble":
            points, length, _ = error_stroke(aim)
            seeds = tools.draw([tools.Stroke(value, points)], mask.shape)
            for prior in case.priors:
                known = None if prior is None else {case.value: prior}
                box, after = tools.propagate(case.photo, mask, seeds, known)
                yield Move(tool, stroke(tool, length), box, after)
        case "snap":
            box, after = tools.snap_border(case.photo, mask, case.value)
            yield Move(tool, COSTS[tool], box, after)
        case "tidy":
            for change in (
                tools.fill_holes(mask, case.value),
                tools.remove_specks(mask, case.value, smallest=200),
                tools.smooth(mask, case.value),
                *(tools.grow(mask, case.value, pixels=by, over=None) for by in _RIMS),
                *(tools.shrink(mask, case.value, pixels=by) for by in _RIMS),
            ):
                yield Move(tool, COSTS[tool], *change)
        case "fill":
            # A piece of this class goes, or a piece of another becomes it; the background is no piece.
            if mask[aim.point]:
                yield _painted(tool, COSTS[tool], mask, tools.component(mask, aim.point), value)
        case "region":
            if not aim.positive:
                return
            for scores, cut in _cuts(case, _THRESHOLDS):
                yield _painted(tool, COSTS[tool], mask, tools.component_above(scores, aim.point, cut), value)
            for other in () if case.others is None else case.others:
                yield _painted(tool, COSTS[tool], mask, tools.component(other == value, aim.point), value)
        case "threshold":
            points, length, diameter = error_stroke(aim)
            for scores, cut in _cuts(case, _THRESHOLDS):
                box, after = tools.threshold_brush(
                    mask, scores, cut, case.value, points, 2 * diameter, over_others=True
                )
                yield Move(tool, stroke(tool, length), box, after)
        case "whole":
            for scores, cut in _cuts(case, _WHOLE):
                yield Move(
                    tool,
                    COSTS[tool],
                    tools.full(mask.shape),
                    tools.whole_image(mask, {case.value - 1: scores}, cut),
                )
        case _:
            raise ValueError(f"there is no tool {tool!r}; tools: {', '.join(TOOLS)}")


def _cuts(case: Case, thresholds: Sequence[float]) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Yield every map of the class with every threshold."""
    for scores in () if case.scores is None else case.scores:
        yield from ((scores, cut) for cut in thresholds)


def _painted(tool: str, cost: float, mask: NDArray[np.uint8], region: tools.Region, value: int) -> Move:
    box, where = region
    return Move(tool, cost, box, tools.merge(mask, box, where, value))


def _outline(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the vertices of a polygon around the largest part of a region, [n, 2] float64 (y, x)."""
    contours = find_contours(np.pad(region, 1).astype(np.float32), 0.5)
    longest = max(contours, key=len) - 1
    found = approximate_polygon(longest, _TOLERANCE)
    # A blob smaller than the tolerance shrinks to a point; it is clicked around all the same.
    return np.asarray(found[:-1] if len(found) > 3 else longest[:-1], np.float64)


def _size(mask: NDArray[np.uint8]) -> tuple[int, int]:
    return int(mask.shape[0]), int(mask.shape[1])
