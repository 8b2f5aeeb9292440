"""Boxes side by side in napari's grid: maps of several runs, label sets and the truth of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray

from engine.colours import rgb_of
from wsss_napari._compat import bare
from wsss_napari.layers import Layers
from wsss_napari.palette import HATCH, UNSURE, hatched

__all__ = ["Box", "SideBySide", "painted_map", "painted_mask"]

MOST = 4
_KEY = "compare:"


@dataclass(frozen=True)
class Box:
    """One cell of the grid: its caption and its picture, [H, W, 3] uint8."""

    caption: str
    pixels: NDArray[np.uint8]


def painted_mask(
    photograph: NDArray[np.uint8], mask: NDArray[np.uint8], colours: Sequence[str], opacity: float = 0.55
) -> NDArray[np.uint8]:
    """Return the photograph [H, W, 3] uint8 with a mask over it, unsure pixels hatched."""
    table = np.zeros((256, 3), np.float32)
    for i, colour in enumerate(colours, start=1):
        table[i] = rgb_of(colour)
    table[UNSURE], table[HATCH] = 242, 26
    shown = hatched(mask)
    weight = np.where(shown > 0, np.float32(opacity), np.float32(0))[..., None]
    return np.asarray(photograph * (1 - weight) + table[shown] * weight + 0.5, np.uint8)


def painted_map(
    photograph: NDArray[np.uint8], scores: NDArray[np.float32], colormap: str = "inferno"
) -> NDArray[np.uint8]:
    """Return the dimmed photograph [H, W, 3] uint8 with a heat map [H, W] in [0, 1] over it."""
    colours = (
        ensure_colormap(colormap).map(np.linspace(0, 1, 256))[:, :3].astype(np.float32) * 255
    )  # [256, 3]
    heat = colours[np.asarray(np.clip(scores, 0, 1) * 255, np.uint8)]
    return np.asarray(np.minimum(photograph * np.float32(0.45) + heat * np.float32(0.65), 255), np.uint8)


class SideBySide:
    """Shows up to four boxes in linked cells and puts everything back afterwards.

    Each cell is one layer with the photograph painted in: in the grid a layer's cell follows
    from its place in the whole list, so pairs of layers would fall apart at a person's own layers.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._before: tuple[bool, int, tuple[int, int]] | None = None
        self._hidden: list[Any] = []

    @property
    def on(self) -> bool:
        """Whether the grid is shown."""
        return self._before is not None

    def show(self, boxes: Sequence[Box]) -> None:
        """Show these boxes, the first four of them; none ends it."""
        if not boxes:
            self.end()
            return
        viewer = self._layers.viewer
        grid = _grid(viewer)
        if self._before is None:
            self._before = (grid.enabled, grid.stride, tuple(grid.shape))
        # Also what came meanwhile, such as the maps of the next image: it would take a cell.
        boxes_there = [self._layers.get(k) for k in self._layers.keys if k.startswith(_KEY)]
        for layer in viewer.layers:
            if layer.visible and layer not in boxes_there:
                layer.visible = False
                self._hidden.append(layer)
        for at, box in enumerate(boxes[:MOST]):
            layer = self._layers.show_image(f"{_KEY}{at}", box.pixels, box.caption, place="correction")
            layer.name = box.caption
            _caption(layer)
        for key in [k for k in self._layers.keys if k.startswith(_KEY)]:
            if int(key.removeprefix(_KEY)) >= min(len(boxes), MOST):
                self._layers.remove(key)
        grid.stride, grid.shape, grid.enabled = 1, (-1, -1), True
        viewer.reset_view()

    def end(self) -> None:
        """Take the boxes away; the grid and what was visible are as before."""
        viewer = self._layers.viewer
        if self._before is None or viewer is None:
            return
        self._layers.remove_all(_KEY)
        for layer in self._hidden:
            if layer in viewer.layers:
                layer.visible = True
        grid = _grid(viewer)
        grid.enabled, grid.stride, grid.shape = self._before
        self._before, self._hidden = None, []
        viewer.reset_view()


def _grid(viewer: Any) -> Any:
    # napari 0.9 moved the grid to the canvas model; the old name warns there.
    real = bare(viewer)
    canvas = getattr(real, "canvas", None)
    return canvas.grid if canvas is not None else real.grid


def _caption(layer: Any) -> None:
    # napari 0.8 has no captions in the cells; the layer list names them there.
    overlay = getattr(layer, "name_overlay", None)
    if overlay is not None:
        overlay.visible = True
