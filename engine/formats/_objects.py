"""The objects of an index mask: from instances where they were found, else connected regions of a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.formats._format import Labelled
from engine.params import Spec

__all__ = ["How", "Object", "ObjectKind", "find_objects"]

How: TypeAlias = Literal["instances", "components", "classes"]
# What can be chosen of every format that holds objects alone.
ObjectKind: TypeAlias = Annotated[
    Literal["instances", "components"],
    Spec("Objects are the instances of the refinement where it found any, or connected regions.", main=True),
]

# Pixels that touch at a corner are one object: thin things would fall into crumbs otherwise.
_EIGHT = np.ones((3, 3), bool)


class Object(NamedTuple):
    """One object of a mask.

    Attributes:
        value: Its value in the mask, class + 1.
        top, left: Where its box begins, in px.
        region: `[h, w]` bool, its pixels inside the box; the box touches it on all sides.
    """

    value: int
    top: int
    left: int
    region: NDArray[np.bool_]

    @property
    def bbox(self) -> list[float]:
        """x, y, width, height in px, as COCO has it."""
        height, width = self.region.shape
        return [float(self.left), float(self.top), float(width), float(height)]


def find_objects(item: Labelled, how: How = "instances") -> Iterator[Object]:
    """Yield the objects of an image, class by class; together they are all of its class pixels.

    Args:
        item: The image; 0 and 255 belong to no object.
        how: `instances` follows `Labelled.instances` where there are any: a connected region
            with instances is divided among them, each pixel to the nearest one; regions
            without are objects of their own. `components` takes connected regions alone,
            `classes` all pixels of a class.
    """
    mask = item.mask
    for value in np.unique(mask[(mask > 0) & (mask < 255)]).tolist():
        mine = mask == value
        if how == "classes":
            numbers = mine.astype(np.int32)
        else:
            numbers, count = ndimage.label(mine, _EIGHT, output=np.int32)
            if how == "instances" and item.instances is not None:
                numbers = _divided(numbers, count, np.where(mine, item.instances, 0))
        for number, box in enumerate(ndimage.find_objects(numbers), 1):
            if box is not None:
                yield Object(value, box[0].start, box[1].start, numbers[box] == number)


def _divided(parts: NDArray[np.int32], count: int, instances: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return new numbers `[H, W]`: those of the instances, then those of the parts without any.

    Args:
        parts: `[H, W]` int32, connected regions from 1 to `count`.
        count: How many there are.
        instances: `[H, W]`, number of the instance of a pixel, 0 for none.
    """
    known, place = np.unique(instances, return_inverse=True)
    first = int(known[0] == 0)  # where every pixel has an instance there is no 0 to skip
    made: NDArray[np.int32] = (place.reshape(parts.shape) + 1 - first).astype(np.int32)
    holds = np.zeros(count + 1, bool)
    holds[parts[made > 0]] = True
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        inside = parts[box] == number
        seeds = inside & (made[box] > 0)
        if holds[number]:
            nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
            made[box] = np.where(inside, made[box][tuple(nearest)], made[box])
        else:
            made[box][inside] = len(known) + number
    return made
