"""From a field of displacements to the instances of an image.

Source: Ahn, Cho and Kwak, IRN (CVPR 2019), sections 4.1 and 4.2, and their released code: each cell follows the
displacements to the centre of its instance; cells that end in the same part where nothing is displaced are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.results import InstanceSet, enlarge

__all__ = ["centroids", "find_instances", "instance_ids", "settling", "split", "weak_components"]

Floats: TypeAlias = NDArray[np.float32]

_AT_ONCE = 8  # maps that walk together
_MOST = 65535  # instances of an image: what uint16 counts


def settling(displacement: Floats, iterations: int = 300, tolerance: float = 0.01) -> Iterator[Floats]:
    """Yield where each cell points to, c <- c + D(c), at first and after each iteration; D is read bilinearly.

    Args:
        displacement: [2, h, w] float32 (dy, dx) in cells.
        iterations: At most so many.
        tolerance: Cells; when nothing moves as far, it ends.

    Yields:
        [2, h, w] float32 (y, x) in cells, inside the grid.
    """
    _, height, width = displacement.shape
    # One more column and row: what lies beyond the last has no share in it.
    field = np.pad(displacement.astype(np.float32), ((0, 0), (0, 1), (0, 1)), mode="edge").reshape(2, -1)
    ends = np.array([[height - 1], [width - 1]], np.float32)
    at = np.indices((height, width), np.float32).reshape(2, -1)  # [2, N]
    going = np.arange(height * width)
    yield at.reshape(displacement.shape)
    for _ in range(iterations):
        before = at[:, going]  # [2, n]
        after = np.clip(before + _between(field, width + 1, before), 0, ends)
        moves = np.abs(after - before).max(0)
        at = at.copy()
        at[:, going] = after
        yield at.reshape(displacement.shape)
        if moves.max() < tolerance:
            return
        # What hardly moves has arrived; the others may swing about for hundreds of iterations.
        going = going[moves >= tolerance / 100]


def _between(field: Floats, width: int, at: Floats) -> Floats:
    """Return the bilinear values [2, n] at (y, x) `at` [2, n] of a field [2, h * width], one cell short of its end."""
    low = at.astype(np.intp)  # [2, n]
    y, x = (at - low).astype(np.float32)
    index = low[0] * width + low[1]
    top: Floats = field.take(index, axis=1)
    bottom = field.take(index + width, axis=1)
    top += (field.take(index + 1, axis=1) - top) * x
    bottom += (field.take(index + width + 1, axis=1) - bottom) * x
    top += (bottom - top) * y
    return top


def centroids(displacement: Floats, iterations: int = 300, tolerance: float = 0.01) -> Floats:
    """Return where each cell points to in the end, [2, h, w] float32 (y, x) in cells; see `settling`."""
    last = displacement
    for at in settling(displacement, iterations, tolerance):
        last = at
    return last


def weak_components(displacement: Floats, below: float = 2.5) -> NDArray[np.int32]:
    """Return the 4-connected parts of a field where it displaces by less than `below` cells.

    Args:
        displacement: [2, h, w] float32 (dy, dx) in cells.
        below: Cells.

    Returns:
        [h, w] int32: number of the part from 1, 0 elsewhere.
    """
    parts, _ = ndimage.label(np.hypot(*displacement) < below, output=np.int32)
    return np.asarray(parts, np.int32)


def instance_ids(displacement: Floats, below: float = 2.5, iterations: int = 300) -> NDArray[np.int32]:
    """Return the instance of each cell: the weak part in which its centroid, rounded to a cell, lies.

    Args:
        displacement: [2, h, w] float32 (dy, dx) in cells.
        below: See `weak_components`.
        iterations: See `settling`.

    Returns:
        [h, w] int32: number of the part; 0 where the centroid lies outside all, one more instance.
    """
    y, x = np.rint(centroids(displacement, iterations)).astype(np.intp)
    found: NDArray[np.int32] = weak_components(displacement, below)[y, x]
    return found


class Walked(NamedTuple):
    """The map of one class inside one instance, after its walk.

    Attributes:
        cls: Number of the map of the class, from 0.
        instance: Number from `instance_ids`.
        map: [h, w] float32 >= 0.
    """

    cls: int
    instance: int
    map: Floats


def find_instances(
    maps: Floats,
    displacement: Floats,
    walk: Callable[[Floats], Floats],
    *,
    image: str,
    size: tuple[int, int],
    classes: Sequence[int],
    cell: float,
    origin: float,
    background: float = 0.25,
    below: float = 2.5,
    least: float = 0.01,
) -> InstanceSet:
    """Return the instances of an image: each class's map inside each instance walks and competes.

    Args:
        maps: [K, h, w] float32 >= 0, from which a semantic walk would start.
        displacement: [2, h, w] float32 (dy, dx) in cells.
        walk: From maps [M, h, w] to the same after the walk, a mean for each cell.
        image: Stem of the image.
        size: (H, W) of the image in px.
        classes: 0-based class of each map.
        cell: Side of a cell in px.
        origin: Pixel coordinate on which cell 0 is centred.
        background: Share of the highest walked score that a pixel needs to be no background.
        below: See `weak_components`.
        least: Share of the image below which a connected instance scores 0.
    """
    if len(maps) != len(classes):
        raise ValueError(f"{len(maps)} maps of {len(classes)} classes")
    ids = instance_ids(displacement, below)
    walked = _walked(maps, ids, walk, background)
    peak = max((float(w.map.max()) for w in walked), default=0.0)
    best = np.full(size, background, np.float32)
    winner = np.zeros(size, np.int32)
    for n, (_, _, shape) in enumerate(walked, 1):
        # One at a time: at image size all of them would not fit.
        score = enlarge(shape[None] / peak, size, cell, origin)[0]  # [H, W]
        better = score > best
        best[better], winner[better] = score[better], n
    numbers, owners, scores = split(winner, best, least)
    of = np.array([classes[walked[owner - 1].cls] for owner in owners], np.int32)
    return InstanceSet(image, numbers, of, scores, {"background": background, "below": below, "least": least})


def split(
    winner: NDArray[np.int32], score: Floats, least: float = 0.01
) -> tuple[NDArray[np.uint16], NDArray[np.int32], Floats]:
    """Return the 4-connected parts of each winner, the best first.

    Args:
        winner: [H, W] int32: number from 1 of what is there, 0 background.
        score: [H, W] float32 of the winner.
        least: Share of all pixels below which a part scores 0.

    Returns:
        [H, W] uint16: number of the part from 1, 0 background; [n] int32: whose part it is; [n] float32 in
        [0, 1]: the highest score inside.
    """
    parts = np.zeros(winner.shape, np.int32)
    owners: list[int] = []
    for owner, box in enumerate(ndimage.find_objects(winner), 1):
        if box is not None:
            mine, count = ndimage.label(winner[box] == owner)
            parts[box][mine > 0] = mine[mine > 0] + len(owners)
            owners += [owner] * count
    areas = np.bincount(parts.ravel(), minlength=len(owners) + 1)[1:]
    peaks = np.zeros(len(owners), np.float32)
    np.maximum.at(peaks, parts[parts > 0] - 1, score[parts > 0])
    peaks[areas < least * parts.size] = 0
    # More than can be counted are crumbs: they come last and become background.
    order = np.lexsort((-areas, -peaks))[:_MOST]
    number = np.zeros(len(owners) + 1, np.uint16)
    number[order + 1] = np.arange(1, len(order) + 1)
    return number[parts], np.array(owners, np.int32)[order], np.minimum(peaks[order], 1)


def _walked(
    maps: Floats, ids: NDArray[np.int32], walk: Callable[[Floats], Floats], background: float
) -> list[Walked]:
    """Return the walked maps of all classes and instances that can beat the background somewhere.

    A walk takes means, so a map never rises above the peak it starts from: once the highest walked score
    is known, those that start from less than the background's share of it need not walk at all.
    """
    present = np.unique(ids)
    starts = [
        (float(peak), k, int(instance))
        for k, layer in enumerate(maps)
        for peak, instance in zip(ndimage.maximum(layer, ids, present), present, strict=True)
    ]
    starts = sorted((s for s in starts if s[0] > 0), reverse=True)
    highest = 0.0
    found: list[Walked] = []
    for begin in range(0, len(starts), _AT_ONCE):
        some = [s for s in starts[begin : begin + _AT_ONCE] if s[0] > background * highest]
        if not some:
            break
        ends = walk(np.stack([np.where(ids == instance, maps[k], 0) for _, k, instance in some]))
        highest = max(highest, float(ends.max()))
        found += [Walked(k, instance, end) for (_, k, instance), end in zip(some, ends, strict=True)]
    # In the order of the released code, for equal scores go to the first.
    return sorted((w for w in found if w.map.max() > background * highest), key=lambda w: w[:2])
