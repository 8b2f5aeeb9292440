"""Which pixels an edit may touch: the four edit masks, and writing a region through one.

    everywhere  every pixel
    inside      only pixels of the class that the person works on
    unsure      only unsure pixels (255)
    keep        not over other classes: background, unsure and the own value only

Slicer's editable area and CVAT's and napari's "preserve" are the precedents.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engine.labels import UNSURE
from engine.tools.boxes import Bools, Box, Mask, cut

__all__ = ["POLICIES", "allowed", "merge"]

POLICIES = ("everywhere", "inside", "unsure", "keep")

Value: TypeAlias = "int | Mask"


def allowed(mask: Mask, policy: str, value: Value, inside: int | None = None) -> Bools:
    """Return the pixels that may become `value`.

    Args:
        mask: `[H, W]` uint8, what stands there.
        policy: One of `POLICIES`.
        value: What is painted: one number, or `[H, W]` uint8 for each pixel its own.
        inside: The value of the class that the person works on. Under `inside` None means
            any class at all. Under `keep` it counts as an own value, so that an eraser may
            take its pixels away.

    Returns:
        `[H, W]` bool.

    Raises:
        ValueError: The policy is unknown.
    """
    if policy == "everywhere":
        return np.ones(mask.shape, bool)
    if policy == "unsure":
        return np.asarray(mask == UNSURE)
    if policy == "inside":
        return (mask > 0) & (mask < UNSURE) if inside is None else np.asarray(mask == inside)
    if policy == "keep":
        free = (mask == 0) | (mask == UNSURE) | (mask == value)
        return np.asarray(free if inside is None else free | (mask == inside))
    raise ValueError(f"the edit mask {policy!r} is none of {', '.join(POLICIES)}")


def merge(
    mask: Mask, box: Box, region: Bools, value: Value, policy: str = "everywhere", inside: int | None = None
) -> npt.NDArray[np.uint8]:
    """Return what stands in a box after a region of it was painted through an edit mask.

    Args:
        mask: `[H, W]` uint8; it is not written to.
        box: Where.
        region: `[h, w]` bool, of the box's size: the pixels to paint.
        value: One number, or `[h, w]` uint8 for each pixel of the box its own.
        policy: As of `allowed`.
        inside: As of `allowed`.

    Returns:
        `[h, w]` uint8.
    """
    before = cut(mask, box)
    if region.shape != before.shape or (isinstance(value, np.ndarray) and value.shape != before.shape):
        raise ValueError(f"a region of {region.shape} for a box of {before.shape}")
    return np.where(region & allowed(before, policy, value, inside), value, before).astype(
        np.uint8, copy=False
    )
