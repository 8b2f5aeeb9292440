"""Read masks that hold class indexes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.images.opening import MAX_PIXELS, decoding, opened, raw_mode

__all__ = ["read_mask"]

_ACCEPTED = "Masks are PNG files with a palette or in 8-bit grey, one class index per pixel, 255 unsure."
# Pillow stretches grey of few bits to 0..255; as indexes the values count as they are stored.
_STRETCHED = {"L;2": 85, "L;4": 17}


def read_mask(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the class indexes of a mask, `[H, W] uint8`, as stored.

    The palette is never looked at: converting an indexed mask to grey gives luminances, which
    look like indexes and are none.

    Raises:
        UserError: No PNG, an RGB or 16-bit mask, an EXIF rotation, damaged, or too large.
    """
    with opened(path, max_pixels, ("PNG",), _ACCEPTED) as (image, header):
        if image.mode not in ("P", "L", "1"):
            raise UserError(
                f"{path} is a mask of mode {image.mode}: colours or 16 bits, not class indexes.",
                _ACCEPTED,
                "Save it as an indexed PNG, one palette entry per class.",
            )
        if header.orientation != 1:
            raise UserError(
                f"{path} is a mask with an EXIF rotation ({header.orientation}), so its pixels lie in doubt.",
                _ACCEPTED,
                "Save it upright, without EXIF data.",
            )
        stretch = _STRETCHED.get(raw_mode(image), 1)
        with decoding(path, _ACCEPTED):
            image.load()
        indexes: NDArray[np.uint8] = np.array(image, dtype=np.uint8)
        return indexes // stretch if stretch > 1 else indexes
