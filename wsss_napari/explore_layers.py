"""The layers of the Explore page: a map per class, the mask, the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_napari.layers import Layers
from wsss_napari.mask_view import MaskView

__all__ = ["ExploreLayers"]

_MAP, _MASK, _TRUTH = "map:", "mask", "truth"


class ExploreLayers:
    """Shows and hides them; what a person changes in the layer list stays until they choose otherwise here.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def clear(self) -> None:
        """Take all of them away."""
        self._layers.remove_all(_MAP)
        self._layers.remove(_MASK)
        self._layers.remove(_TRUTH)

    def show_maps(self, view: MaskView, names: Sequence[str], colormap: str) -> bool:
        """Show the map of each class that takes part, at its own resolution.

        Returns:
            Whether layers came or went, so that what is visible is to be chosen anew.
        """
        stack = view.stack
        wanted = {f"{_MAP}{names[c]}": k for k, c in enumerate(stack.classes) if c in view.classes}
        fresh = False
        for key in self._keys():
            if key not in wanted:
                self._layers.remove(key)
                fresh = True
        for key, k in wanted.items():
            fresh |= self._layers.get(key) is None
            self._layers.show_map(
                key,
                stack.maps[k],
                f"{stack.image} · CAM · {key.removeprefix(_MAP)}",
                scale=(stack.cell, stack.cell),
                translate=(stack.origin, stack.origin),
                colormap=colormap,
                colorbar=True,
                opacity=0.6,
            )
        return fresh

    def show_only(self, names: Sequence[str]) -> None:
        """Make the maps of these classes visible; a single one shines through, several cover."""
        blending = "additive" if len(names) == 1 else "translucent_no_depth"
        for key in self._keys():
            layer = self._layers.get(key)
            if layer is not None:
                layer.visible = key.removeprefix(_MAP) in names
                layer.blending = blending

    def recolour(self, colormap: str) -> None:
        """Give all maps another colormap."""
        for key in self._keys():
            layer = self._layers.get(key)
            if layer is not None:
                layer.colormap = colormap

    def show_mask(self, image: str, mask: NDArray[np.uint8], colours: Sequence[str]) -> bool:
        """Show the mask, in place; return whether the layer is new."""
        fresh = self._layers.get(_MASK) is None
        self._layers.show_labels(_MASK, mask, f"{image} · mask", colours, opacity=0.45)
        return fresh

    def style_mask(self, style: str) -> None:
        """Draw the mask `filled`, as `outline`, or not at all (`none`)."""
        layer: Any = self._layers.get(_MASK)
        if layer is not None:
            layer.visible = style != "none"
            layer.contour = 2 if style == "outline" else 0

    def show_truth(self, image: str, mask: NDArray[np.uint8] | None, colours: Sequence[str]) -> None:
        """Show the truth as outlines over the mask; None takes it away."""
        if mask is None:
            self._layers.remove(_TRUTH)
        else:
            self._layers.show_labels(_TRUTH, mask, f"{image} · truth", colours, opacity=1.0, contour=2)

    def _keys(self) -> list[str]:
        return [key for key in self._layers.keys if key.startswith(_MAP)]
