"""Mend the shape of regions: holes, specks, borders, size; and exchange one class for another.

Every function takes one class or all (`value=None`), looks only inside `box` where one is given,
and answers with a change before any edit mask. Where two values have an equal claim to a pixel,
the one that stood there keeps it. The border of the image is not a border of a region.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from engine.labels import UNSURE
from engine.tools.boxes import EMPTY, Bools, Box, Change, Mask, changed, cut, full, grown, tight

__all__ = ["convert", "fill_holes", "grow", "remove_specks", "remove_underlying", "shrink", "smooth"]

Floats = npt.NDArray[np.float32]


def fill_holes(
    mask: Mask, value: int | None = None, *, largest: int | None = None, box: Box | None = None
) -> Change:
    """Fill background and unsure pixels that a class encloses.

    A hole that touches the border of the image (or of `box`) is open and stays.

    Args:
        mask: `[H, W]` uint8.
        value: The class's value; None fills the holes of each class.
        largest: Holes of more pixels stay; None fills all.
        box: Where.
    """
    where, before = _part(mask, box, value, 0)
    after = before.copy()
    for own in _classes(before, value):
        holes = ndimage.binary_fill_holes(before == own) & ((before == 0) | (before == UNSURE))
        after[_up_to(holes, largest) & (after == before)] = own
    return changed(mask, where, after)


def remove_underlying(mask: Mask, value: int, *, box: Box | None = None) -> Change:
    """Give a class everything that lies within its outline, pixels of other classes too.

    Args:
        mask: `[H, W]` uint8.
        value: The class's value.
        box: Where.
    """
    where, before = _part(mask, box, value, 0)
    return changed(mask, where, np.where(ndimage.binary_fill_holes(before == value), np.uint8(value), before))


def remove_specks(
    mask: Mask, value: int | None = None, *, smallest: int = 64, box: Box | None = None
) -> Change:
    """Give regions of fewer pixels than `smallest` to what surrounds them.

    Args:
        mask: `[H, W]` uint8.
        value: The value whose regions are looked at, 0 and 255 included; None looks at each
            class.
        smallest: Regions with at least this many pixels stay.
        box: Where; a region is counted inside it only.

    Returns:
        The change: each pixel of a speck takes the value of the nearest pixel that stays; when
        none stays, background.
    """
    where, before = _part(mask, box)
    specks = np.zeros(before.shape, bool)
    for own in _classes(before, value):
        regions, _ = ndimage.label(before == own)
        small = np.bincount(regions.reshape(-1)) < smallest
        small[0] = False
        specks |= small[regions]
    return changed(mask, where, _surrounded(before, specks))


def smooth(mask: Mask, value: int | None = None, *, radius: int = 3, box: Box | None = None) -> Change:
    """Smooth borders: each pixel takes the value that most pixels of the disc around it have.

    Args:
        mask: `[H, W]` uint8.
        value: The class whose borders may move; None moves those of every value.
        radius: Of the disc in px.
        box: Where.
    """
    where, before = _part(mask, box, value, 2 * radius)
    values = [int(v) for v in np.unique(before)]
    if radius < 1 or len(values) < 2:
        return changed(mask, where, before)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y * y + x * x <= radius * radius).astype(np.float32)
    votes = np.stack([_count(before == v, disc) for v in values])
    places = np.zeros(256, np.intp)
    places[values] = np.arange(len(values))
    standing = np.take_along_axis(votes, places[before][None], axis=0)[0]
    after = np.where(votes.max(axis=0) > standing, np.array(values, np.uint8)[votes.argmax(axis=0)], before)
    if value is not None:
        after = np.where((before == value) | (after == value), after, before)
    return changed(mask, where, after)


def grow(
    mask: Mask,
    value: int | None = None,
    *,
    pixels: int = 1,
    over: Sequence[int] | None = (0, UNSURE),
    box: Box | None = None,
) -> Change:
    """Grow a class by a number of px, or each class into what none of them holds.

    Args:
        mask: `[H, W]` uint8.
        value: The class's value; None grows each class; the nearest takes a pixel.
        pixels: Euclidean distance from the class up to which pixels join it.
        over: Values that may be grown over; None is any.
        box: Where.
    """
    where, before = _part(mask, box, value, pixels)
    nearest = np.full(before.shape, np.inf, np.float32)
    taken = before.copy()
    for own in _classes(before, value):
        held = before == own
        if not held.any():
            continue
        distance = np.where(held, np.inf, ndimage.distance_transform_edt(~held)).astype(np.float32)
        # Two classes equally near: neither has the better claim, so what stood there stays.
        taken = np.where(distance == nearest, before, np.where(distance < nearest, np.uint8(own), taken))
        np.minimum(nearest, distance, out=nearest)
    may = nearest <= pixels
    if over is not None:
        may &= np.isin(before, np.asarray(over, np.uint8))
    return changed(mask, where, np.where(may, taken, before))


def shrink(
    mask: Mask, value: int | None = None, *, pixels: int = 1, into: int = 0, box: Box | None = None
) -> Change:
    """Take a rim of a number of px off a class, or off each.

    Args:
        mask: `[H, W]` uint8.
        value: The class's value; None shrinks each class.
        pixels: Euclidean distance from other values up to which pixels are taken off.
        into: What the rim becomes; 255 makes a border of unsure pixels as VOC has.
        box: Where.
    """
    where, before = _part(mask, box, value, 1)
    after = before.copy()
    for own in _classes(before, value):
        held = before == own
        if not held.all():
            after[held & (ndimage.distance_transform_edt(held) <= pixels)] = into
    return changed(mask, where, after)


def convert(
    mask: Mask, old: int, new: int, *, region: tuple[Box, Bools] | None = None, box: Box | None = None
) -> Change:
    """Make one value another: everywhere, in `box`, or where a region is True.

    Args:
        mask: `[H, W]` uint8.
        old: The value that is exchanged, 0 and 255 included.
        new: What it becomes.
        region: A region of any tool; `box` is then not looked at.
        box: Where.
    """
    where, before = _part(mask, region[0] if region is not None else box)
    chosen = before == old
    if region is not None:
        chosen &= region[1]
    return changed(mask, where, np.where(chosen, np.uint8(new), before))


def _part(
    mask: Mask, box: Box | None, value: int | None = None, margin: int | None = None
) -> tuple[Box, Mask]:
    """Return where to look and what stands there: `box`, or what of it lies `margin` px around a value."""
    where = full(mask.shape) if box is None else grown(box, 0, mask.shape)
    if margin is not None and value is not None:
        near, _ = tight(cut(mask, where) == value, where[:2])
        y0, x0, y1, x1 = grown(near, margin, mask.shape)
        if near == EMPTY:
            where = EMPTY
        else:
            where = max(y0, where[0]), max(x0, where[1]), min(y1, where[2]), min(x1, where[3])
    return where, cut(mask, where)


def _classes(mask: Mask, value: int | None) -> list[int]:
    if value is not None:
        return [value]
    return [int(v) for v in np.unique(mask) if 0 < v < UNSURE]


def _up_to(holes: Bools, largest: int | None) -> Bools:
    if largest is None:
        return holes
    pieces, _ = ndimage.label(holes)
    fits = np.bincount(pieces.reshape(-1)) <= largest
    fits[0] = False
    return np.asarray(fits[pieces])


def _surrounded(before: Mask, gone: Bools) -> Mask:
    """Return a mask whose `gone` pixels take the value of the nearest other one, or background."""
    if not gone.any():
        return before
    if gone.all():
        return np.zeros_like(before)
    nearest = ndimage.distance_transform_edt(gone, return_distances=False, return_indices=True)
    return np.asarray(np.where(gone, before[tuple(nearest)], before))


def _count(held: Bools, disc: Floats) -> Floats:
    """Return how many pixels of the disc around each pixel are held; beyond the border the image repeats."""
    return np.asarray(ndimage.convolve(held.astype(np.float32), disc, mode="nearest"), np.float32)
