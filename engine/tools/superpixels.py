"""Superpixels of a photograph, to take whole ones by click and drag.

    ids = superpixels(photo, "slic", 256)   # once per image and size
    box, region = pick(ids, [(40, 52), (41, 90)])

SLIC (Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", TPAMI
2012) gives even pieces; Felzenszwalb and Huttenlocher ("Efficient graph-based image
segmentation", IJCV 2004) gives pieces as large as the picture is plain.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from engine.tools.boxes import Bools, Image, Point, Region, no_region, tight
from engine.tools.region import pixel_of

__all__ = ["SUPERPIXEL_KINDS", "SUPERPIXEL_SIZES", "Ids", "borders", "pick", "superpixels"]

Ids = npt.NDArray[np.int32]

SUPERPIXEL_KINDS = ("slic", "felzenszwalb")
# Pixels of a superpixel about; from an eye to a flank on a photograph of 500 x 375.
SUPERPIXEL_SIZES = (64, 256, 1024, 4096)


def superpixels(photo: Image, kind: str = "slic", size: int = 256, *, compactness: float = 10.0) -> Ids:
    """Cut a photograph into superpixels.

    Args:
        photo: `[H, W, 3]` uint8, RGB.
        kind: One of `SUPERPIXEL_KINDS`.
        size: Pixels of a superpixel about; `SUPERPIXEL_SIZES` are good choices. For `felzenszwalb` no
            piece is smaller than a quarter of it.
        compactness: For `slic`: weight of nearness against likeness of colour.

    Returns:
        `[H, W]` int32, 0-based numbers without gaps; each piece is connected.

    Raises:
        ValueError: The kind is unknown.
    """
    from skimage import segmentation

    height, width = photo.shape[:2]
    if not photo.size:
        return np.zeros((height, width), np.int32)
    if kind == "slic":
        count = max(1, round(height * width / max(size, 1)))
        ids = segmentation.slic(
            photo, n_segments=count, compactness=compactness, sigma=1.0, start_label=0, max_num_iter=6
        )
    elif kind == "felzenszwalb":
        least = max(1, size // 4)
        ids = segmentation.felzenszwalb(photo, scale=float(size), sigma=0.8, min_size=least)
    else:
        raise ValueError(f"superpixels of {kind!r}, not of {' or '.join(SUPERPIXEL_KINDS)}")
    return np.asarray(ids, np.int32)


def pick(ids: Ids, points: Iterable[Point]) -> Region:
    """Return the superpixels under the points; points beside the image pick nothing.

    Args:
        ids: `[H, W]` int32 of `superpixels`.
        points: (y, x) in px.
    """
    pixels = [pixel for point in points if (pixel := pixel_of(point, ids.shape)) is not None]
    if not pixels:
        return no_region()
    chosen = np.unique([ids[pixel] for pixel in pixels])
    return tight(np.isin(ids, chosen) if len(chosen) > 1 else np.asarray(ids == chosen[0]))


def borders(ids: Ids) -> Bools:
    """Return the pixels that touch another superpixel to the right or below, `[H, W]` bool, to draw them."""
    lines = np.zeros(ids.shape, bool)
    lines[:-1] |= ids[:-1] != ids[1:]
    lines[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return lines
