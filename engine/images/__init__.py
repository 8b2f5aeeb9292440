"""Images: find them in a folder, read their pixels upright in 8-bit RGB, read index masks.

found = find(folder)
for stem, path in found.stems.items():
    pixels = read(path).pixels  # [H, W, 3] uint8
"""

from engine.images.finding import Found, digest, find
from engine.images.masks import read_mask
from engine.images.opening import MAX_PIXELS, Facts, probe
from engine.images.pixels import Picture, read, thumbnail, upright

__all__ = [
    "MAX_PIXELS",
    "Facts",
    "Found",
    "Picture",
    "digest",
    "find",
    "probe",
    "read",
    "read_mask",
    "thumbnail",
    "upright",
]
