"""Shapes of annotation programs turned into pixels, each by the rule of its program, within limits.

Two rules are about. labelme draws a polygon through pixel centres and its outline belongs to it
(as Pillow draws, so contours of pixel centres come back exactly). CVAT's coordinates lie on pixel
edges and a pixel belongs to a polygon when its centre does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from engine.errors import UserError
from engine.formats._format import Labelled
from engine.formats._masks import UNSURE
from engine.formats._objects import How, find_objects
from engine.formats._outlines import fill_edges
from engine.names import nfc, quote

__all__ = ["Area", "Effort", "Points", "areas_of", "centres_inside", "drawn", "values_of"]

Points = NDArray[np.float64]
# No point lies further out than the picture is wide or high: such a shape is of another picture.
_OUTSIDE = 1.0
_MAX_NAMED = 10


class Area(NamedTuple):
    """A region in its box; `top`, `left` in px from 0, `inside` `[h, w]` bool."""

    top: int
    left: int
    inside: NDArray[np.bool_]

    def paint(self, mask: NDArray[np.uint8], value: int) -> None:
        """Write the value into the pixels of the region, in place; its box lies inside the mask."""
        height, width = self.inside.shape
        mask[self.top : self.top + height, self.left : self.left + width][self.inside] = value


class Effort:
    """What the shapes of one picture may cost, as a file can ask for any number of large ones.

    Args:
        size: (H, W) of the picture in px.
        where: The file and the picture, for the messages.
        accepted: What would be accepted.
    """

    def __init__(self, size: tuple[int, int], where: str, accepted: str) -> None:
        self.size = size
        self.where = where
        self.accepted = accepted
        self._left = 2**28 + 12 * size[0] * size[1]

    def spend(self, steps: int) -> None:
        """Take steps of work off what is left.

        Raises:
            UserError: Nothing is left.
        """
        self._left -= steps
        if self._left < 0:
            raise UserError(
                f"{self.where} holds more shapes, or larger ones, than a picture of its size can need.",
                self.accepted,
                "Check the file in the program that wrote it.",
            )

    def points(self, numbers: object) -> Points:
        """Return points `[n, 2]` (x, y) in px, on the picture or less than its size outside of it.

        Raises:
            UserError: It is no such list of points.
        """
        try:
            points = np.array(numbers, dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise UserError(
                f"{self.where}: {quote(numbers)} is no list of points [x, y].",
                self.accepted,
                "Mend the file.",
            )
        ends = np.array(self.size[::-1], np.float64)
        # Said so that NaN, with which every comparison is false, is refused as well.
        if not np.all((points >= -_OUTSIDE * ends) & (points <= (1 + _OUTSIDE) * ends)):
            raise UserError(
                f"{self.where}: a shape has a point far outside the picture of {self.size[1]} x {self.size[0]} px.",
                self.accepted,
                "Check that the file was made for this picture.",
            )
        return points


def drawn(kind: Literal["polygon", "rectangle", "ellipse"], points: Points, effort: Effort) -> Area:
    """Return a shape as Pillow draws it, outline included, cut to the picture.

    Args:
        kind: What to draw.
        points: `[n, 2]` (x, y), pixel centres at whole numbers: the corners of a polygon, else the
            upper left and the lower right corner.
        effort: Pays for it.
    """
    ends = np.array(effort.size[::-1])
    low = np.clip(np.floor(points.min(axis=0)) - 1, 0, ends).astype(np.int64)
    high = np.clip(np.ceil(points.max(axis=0)) + 2, 0, ends).astype(np.int64)
    width, height = (int(n) for n in high - low)
    # Pillow looks at every edge in every row, and walks along edges outside of the picture too.
    rows = int(np.ptp(points[:, 1])) + 2
    effort.spend(width * height + len(points) * rows + int(np.abs(np.diff(points, axis=0)).sum()))
    if not width or not height:
        return Area(0, 0, np.zeros((0, 0), bool))
    image = Pillow.new("L", (width, height))
    # Shifted by whole numbers, so that parts of pixels are rounded as on the whole picture.
    getattr(ImageDraw.Draw(image), kind)([(x, y) for x, y in (points - low).tolist()], outline=1, fill=1)
    return Area(int(low[1]), int(low[0]), np.asarray(image) > 0)


def centres_inside(points: Points, effort: Effort) -> Area:
    """Return the pixels whose centres lie in a polygon, even-odd, cut to the picture.

    Args:
        points: `[n, 2]` (x, y) from `Effort.points`, pixel edges at whole numbers.
        effort: Pays for it.
    """
    height = np.abs(np.roll(points[:, 1], -1) - points[:, 1])
    box = np.prod(np.minimum(np.ptp(points, axis=0) + 1, effort.size[::-1]))
    effort.spend(int(box) + 8 * int(np.minimum(height, effort.size[0]).sum()) + len(points))
    return Area(*fill_edges(points, effort.size))


def areas_of(item: Labelled) -> list[tuple[int, Area]]:
    """Return (value, area) of all that is not background, unsure last.

    Where objects were found each is an area of its own; else a class is one area.
    """
    how: How = "classes" if item.instances is None else "instances"
    made = [(o.value, Area(o.top, o.left, o.region)) for o in find_objects(item, how)]
    unsure = item.mask == UNSURE
    if unsure.any():
        y, x = (np.flatnonzero(unsure.any(axis=axis)) for axis in (1, 0))
        made.append((UNSURE, Area(int(y[0]), int(x[0]), unsure[y[0] : y[-1] + 1, x[0] : x[-1] + 1])))
    return made


def values_of(
    labels: Iterable[str], classes: Sequence[str], unsure: Iterable[str], background: Iterable[str] = ()
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the value of each label of a file in the project, and what to say of those it lacks.

    Args:
        labels: The labels as the file has them.
        classes: The project's class names.
        unsure: Labels that mean unsure where no class is called so.
        background: Labels that mean background, beside `background`.
    """
    meaning = dict.fromkeys(unsure, UNSURE) | dict.fromkeys(("background", *background), 0)
    meaning |= {nfc(name): index for index, name in enumerate(classes, 1)}
    values = {label: meaning.get(nfc(label), 0) for label in labels}
    lacking = [quote(label) for label in values if nfc(label) not in meaning]
    if not lacking:
        return values, ()
    named = ", ".join(lacking[:_MAX_NAMED])
    more = f" and {len(lacking) - _MAX_NAMED:,} more" if len(lacking) > _MAX_NAMED else ""
    return values, (f"Classes that the project lacks become background: {named}{more}.",)
