"""What a person can do at a place: each tool of the Correct page, with its cost."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon as filled_polygon
from skimage.measure import approximate_polygon, find_contours

from engine import tools
from engine.annotator.aim import Aim, error_stroke
from engine.annotator.costs import COSTS, VERTEX, stroke

__all__ = ["TOOLS", "Case", "Move", "moves"]

TOOLS = ("brush", "polygon", "superpixel", "click", "scribble", "snap", "tidy", "region", "threshold")
"""`threshold`, and `region` where something is missing, copy from the engine's maps and do nothing without."""

_SIZES = (256, 1024)
_THRESHOLDS = (0.3, 0.5, 0.7)
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
        scores: [H, W] float32 in [0, 1], the engine's map of the class, or None without the engine.
    """

    stem: str
    photo: NDArray[np.uint8]
    start: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    value: int
    scores: NDArray[np.float32] | None = None

    def window(self) -> Case:
        """Return the part of the image in which the class is, should be, or may come to be."""
        box, _ = tools.tight((self.start == self.value) | (self.truth == self.value))
        box = tools.grown(box, _MARGIN, self.start.shape)
        return replace(
            self,
            photo=tools.cut(self.photo, box),
            start=tools.cut(self.start, box),
            truth=tools.cut(self.truth, box),
            scores=None if self.scores is None else tools.cut(self.scores, box),
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
            box, after = tools.apply_clicks(case.photo, mask, new, case.value, case.scores)
            yield Move(tool, COSTS[tool], box, after)
        case "scribble":
            points, length, _ = error_stroke(aim)
            seeds = tools.draw([tools.Stroke(value, points)], mask.shape)
            known = None if case.scores is None else {case.value: case.scores}
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
            ):
                yield Move(tool, COSTS[tool], *change)
        case "region":
            if not aim.positive:
                yield _painted(tool, COSTS[tool], mask, tools.component(mask == case.value, aim.point), value)
            elif case.scores is not None:
                for cut in _THRESHOLDS:
                    piece = tools.component_above(case.scores, aim.point, cut)
                    yield _painted(tool, COSTS[tool], mask, piece, value)
        case "threshold":
            if case.scores is not None:
                points, length, diameter = error_stroke(aim)
                for cut in _THRESHOLDS:
                    box, after = tools.threshold_brush(
                        mask, case.scores, cut, case.value, points, 2 * diameter, over_others=True
                    )
                    yield Move(tool, stroke(tool, length), box, after)
        case _:
            raise ValueError(f"there is no tool {tool!r}; tools: {', '.join(TOOLS)}")


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
