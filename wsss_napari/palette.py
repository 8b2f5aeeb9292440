"""Class colours for layers, chips and plots, and the hatch that stands for unsure pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.colours import hex_of, rgb_of, voc_palette

__all__ = ["HATCH", "UNSURE", "class_shades", "hatched", "ink_on", "label_colormap", "stripes"]

UNSURE = 255
# Shown in place of every second stripe of UNSURE; no class may use it while a hatch is drawn.
HATCH = 254


def class_shades(colours: Sequence[str], palette: str = "safe") -> tuple[str, ...]:
    """Return the `#RRGGBB` of each class: the project's own, or VOC's when the person prefers it."""
    if palette == "voc":
        table = voc_palette()
        return tuple(hex_of(table[(i + 1) % 255]) for i in range(len(colours)))
    return tuple(colours)


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on `#RRGGBB` (relative luminance of WCAG 2)."""
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in rgb_of(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # The two contrasts are equal at sqrt(1.05 * 0.05) - 0.05.
    return "#000000" if luminance > 0.179 else "#FFFFFF"


def label_colormap(
    colours: Sequence[str], *, background: bool = False
) -> dict[int | None, NDArray[np.float32]]:
    """Return the colours of a mask as napari's DirectLabelColormap takes them.

    Args:
        colours: `#RRGGBB` of class 0, 1, …; class i is drawn where the mask holds i + 1.
        background: Draw 0 in dark grey; otherwise it is transparent.

    Returns:
        Label value -> [4] float32 RGBA in [0, 1]. Values without a class are red, so that a
        mask of another project is noticed.
    """
    table: dict[int | None, NDArray[np.float32]] = {None: _rgba("#FF0000")}
    table[0] = _rgba("#202020") if background else np.zeros(4, np.float32)
    for i, colour in enumerate(colours, start=1):
        table[i] = _rgba(colour)
    table[HATCH] = np.array([0.1, 0.1, 0.1, 0.9], np.float32)
    table[UNSURE] = np.array([0.95, 0.95, 0.95, 0.9], np.float32)
    return table


def hatched(mask: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the mask with diagonal stripes of 255 and 254 where it holds 255, for display only.

    A Labels layer gives one flat colour to a value, and a flat colour can be taken for a class;
    stripes can't, in any palette and to any eye.

    Args:
        mask: [H, W] uint8.
        out: [H, W] uint8 to write into.
    """
    if mask.max(initial=0) < UNSURE:
        out = np.empty_like(mask) if out is None else out
        np.copyto(out, mask)
        return out
    # 255 - 1 on the stripes: one comparison and one subtraction, no branch for the rest.
    unsure = np.equal(mask, UNSURE).view(np.uint8)  # [H, W] in {0, 1}
    np.bitwise_and(unsure, stripes(mask.shape[0], mask.shape[1]), out=unsure)
    return np.subtract(mask, unsure, out=out)


@lru_cache(maxsize=4)
def stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Return diagonal stripes that stay visible when the whole image fills the canvas, [H, W] uint8 in {0, 1}."""
    wide = max(3, round(max(height, width) / 120))
    rows = np.arange(height, dtype=np.int32)[:, None]
    columns = np.arange(width, dtype=np.int32)[None, :]
    return (((rows + columns) // wide) & 1).astype(np.uint8)


def _rgba(colour: str) -> NDArray[np.float32]:
    return np.array([*(v / 255 for v in rgb_of(colour)), 1.0], np.float32)
