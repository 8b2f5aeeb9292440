"""What a tool would do, drawn over the image before it is done: outlines, strokes and points in one small layer."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.colours import rgb_of
from engine.tools import EMPTY, Box, cut
from wsss_napari.layers import Layers

__all__ = ["Preview", "Trail", "outlined", "skipped", "tinted"]

# Pieces of a larger image are previewed coarser; what is painted is exact.
_MOST = 800
_NOTHING = np.zeros((1, 1, 4), np.uint8)


class Preview:
    """One picture with transparency, as large as what it shows and not as the image.

    Args:
        layers: The layers of the viewer.
        key: Key of its layer.
    """

    def __init__(self, layers: Layers, key: str) -> None:
        self._layers = layers
        self._key = key
        self.box: Box | None = None

    @property
    def layer(self) -> Any | None:
        """The layer, while there is one."""
        return self._layers.get(self._key)

    def wake(self, name: str) -> None:
        """Make the layer ready: made in the middle of a drag it would take the drag away from the mask."""
        self._layers.show_image(self._key, _NOTHING, name, place="correction").visible = False
        self.box = None

    def sleep(self) -> None:
        """Take the layer away."""
        self._layers.remove(self._key)
        self.box = None

    def show(self, box: Box, pixels: NDArray[np.uint8], every: int = 1) -> None:
        """Show [h, w, 4] uint8 RGBA pixels over a box, both of an image of which only each `every`th pixel was looked at."""
        layer = self.layer
        if layer is None:  # asleep, or a person deleted it: a preview is not worth a complaint
            return
        self.box = box
        layer.data = pixels
        if tuple(layer.scale) != (every, every):
            layer.scale = (every, every)
        layer.translate = (box[0] * every, box[1] * every)
        layer.visible = True

    def clear(self) -> None:
        """Show nothing."""
        layer = self.layer
        if layer is not None and layer.visible:
            layer.visible = False
        self.box = None


class Trail:
    """What a drag has covered so far, and the box around it.

    Args:
        shape: (H, W) of the image.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._all = np.zeros(shape[:2], bool)
        self.box: Box = EMPTY

    @property
    def region(self) -> NDArray[np.bool_]:
        """What is covered inside the box, [h, w] bool."""
        return cut(self._all, self.box)

    def add(self, box: Box, region: NDArray[np.bool_]) -> None:
        """Cover [h, w] bool pixels in a box."""
        if box == EMPTY:
            return
        cut(self._all, box)[...] |= region
        if self.box == EMPTY:
            self.box = box
        else:
            a = self.box
            self.box = (min(a[0], box[0]), min(a[1], box[1]), max(a[2], box[2]), max(a[3], box[3]))


def outlined(
    region: NDArray[np.bool_], box: Box, shape: tuple[int, ...], colour: str
) -> tuple[Box, NDArray[np.uint8]]:
    """Return the outline of a region: its colour inside the border, black outside, so that it is seen on any ground.

    Args:
        region: [h, w] bool, of the box's size.
        box: Where it lies.
        shape: (H, W, ...) of the image; the outline is as wide as can be seen when all of it is shown.
        colour: `#RRGGBB`.

    Returns:
        The box, wider by the outline, and [h', w', 4] uint8 RGBA.
    """
    wide = max(1, round(max(shape[0], shape[1]) / 400))
    y0, x0, y1, x1 = box
    outer = (max(0, y0 - wide), max(0, x0 - wide), min(shape[0], y1 + wide), min(shape[1], x1 + wide))
    whole = np.zeros((outer[2] - outer[0], outer[3] - outer[1]), np.uint8)
    whole[y0 - outer[0] : y1 - outer[0], x0 - outer[1] : x1 - outer[1]] = region
    kernel = np.ones((2 * wide + 1, 2 * wide + 1), np.uint8)
    # The border of the image counts as a border of the region.
    inner = cv2.erode(whole, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    around = cv2.dilate(whole, kernel)
    pixels = np.zeros((*whole.shape, 4), np.uint8)
    pixels[(around > 0) & (whole == 0)] = (0, 0, 0, 200)
    pixels[(whole > 0) & (inner == 0)] = (*rgb_of(colour), 255)
    return outer, pixels


def skipped(shape: tuple[int, ...]) -> int:
    """Return of how many pixels one is looked at where a preview must follow the pointer: 1 on a photograph."""
    return max(1, -(-max(shape[0], shape[1]) // _MOST))


def tinted(region: NDArray[np.bool_], colour: str, alpha: int = 150) -> NDArray[np.uint8]:
    """Return a region filled with a colour, [h, w, 4] uint8 RGBA."""
    pixels = np.zeros((*region.shape, 4), np.uint8)
    pixels[region] = (*rgb_of(colour), alpha)
    return pixels
