"""The only caller of `viewer.add_*`: layers that are ours, kept under a key and updated in place.

A layer is ours because we made it and it is still in the viewer, never because of its name:
people rename, delete and duplicate layers, and none of that may raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray
from psygnal import Signal

from wsss_napari._compat import bare, clear_paint_history, redraw, show_layer_colorbar
from wsss_napari.palette import hatched, label_colormap

__all__ = ["PLACES", "Layers"]

# Bottom to top.
PLACES = ("photograph", "map", "step", "prototype", "refinement", "label", "correction")


class Layers:
    """The layers of one viewer that belong to us.

    `deleted(key)` is emitted when a person removes one of them.
    """

    deleted = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self._viewer = ref(bare(viewer))
        self._owned: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._removing = False
        bare(viewer).layers.events.removed.connect(self._on_removed)

    @property
    def viewer(self) -> Any:
        """The viewer, or None when it is gone."""
        return self._viewer()

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the layers that are in the viewer."""
        return tuple(self._owned)

    def get(self, key: str) -> Any | None:
        """Return the layer of a key, or None when there is none or a person deleted it."""
        return self._owned.get(key)

    def owns(self, layer: Any) -> bool:
        """Return whether the layer is ours."""
        return any(bare(layer) is owned for owned in self._owned.values())

    def show_image(self, key: str, pixels: NDArray[np.uint8], name: str, *, place: str = "photograph") -> Any:
        """Show [H, W, 3] uint8 pixels; the view is fitted anew only when the size changed."""
        layer = self.get(key)
        if layer is not None and layer.ndim == 2 and layer.rgb:
            resized = layer.data.shape != pixels.shape
            layer.data = pixels
            self.rename(layer, name)
        else:
            self.remove(key)
            first = not self.viewer.layers
            layer = self._add(key, place, "add_image", pixels, name=name, rgb=True)
            resized = not first  # napari fits the view to a viewer's first layer itself
        if resized and place == "photograph":
            self.viewer.reset_view()
        return layer

    def show_map(
        self,
        key: str,
        maps: NDArray[Any],
        name: str,
        *,
        scale: tuple[float, float] = (1.0, 1.0),
        translate: tuple[float, float] = (0.0, 0.0),
        colormap: Any = "inferno",
        limits: tuple[float, float] = (0.0, 1.0),
        opacity: float = 0.6,
        blending: str = "translucent",
        colorbar: bool = False,
        place: str = "map",
    ) -> Any:
        """Show a heat map at its own resolution; contrast, opacity and colours are set once, then left.

        Args:
            key: Its key.
            maps: [h, w] float, or [steps, h, w] for a stack (which opens at step 0).
            name: Name in the layer list.
            scale: (y, x) px per cell.
            translate: (y, x) px of the centre of cell 0.
            colormap, limits, opacity, blending, colorbar: What it starts with.
            place: One of PLACES.
        """
        # float16 textures are no faster and napari would convert at each slice.
        data = np.asarray(maps, np.float32)
        lead = (1.0,) * (data.ndim - 2)
        placed = {"scale": (*lead, *scale), "translate": (*(0.0 for _ in lead), *translate)}
        layer = self.get(key)
        if layer is not None and layer.ndim == data.ndim:
            layer.data = data
            for field, value in placed.items():
                if tuple(getattr(layer, field)) != value:
                    setattr(layer, field, value)
            self.rename(layer, name)
            return layer
        self.remove(key)
        layer = self._add(
            key,
            place,
            "add_image",
            data,
            name=name,
            colormap=colormap,
            contrast_limits=limits,
            opacity=opacity,
            blending=blending,
            interpolation2d="linear",
            **placed,
        )
        if colorbar:
            show_layer_colorbar(layer, True)
        if data.ndim == 3:
            # napari opens a stack in its middle.
            self.viewer.dims.set_current_step(0, 0)
        return layer

    def show_labels(
        self,
        key: str,
        mask: NDArray[np.uint8],
        name: str,
        colours: Sequence[str],
        *,
        opacity: float = 0.55,
        contour: int = 0,
        place: str = "label",
    ) -> Any:
        """Show a mask, unsure pixels (255) hatched. Called again it repaints in place: the route of live sliders.

        Args:
            key: Its key.
            mask: [H, W] uint8: 0 background, class + 1, 255 unsure. It is copied.
            name: Name in the layer list.
            colours: `#RRGGBB` of each class.
            opacity: What it starts with.
            contour: Width of outlines in px, 0 for filled; what it starts with.
            place: One of PLACES.
        """
        layer = self.get(key)
        if layer is not None and layer.data.shape == mask.shape:
            hatched(mask, out=layer.data)
            redraw(layer)
        elif layer is not None:
            layer.data = hatched(mask)
        if layer is None:
            colormap = DirectLabelColormap(color_dict=label_colormap(colours))
            layer = self._add(
                key, place, "add_labels", hatched(mask), name=name, colormap=colormap, opacity=opacity
            )
            layer.contour = contour
            layer.editable = False
            layer.metadata["wsss"]["colours"] = tuple(colours)
        else:
            # Strokes of the old mask must not come back into this one.
            clear_paint_history(layer)
            self.rename(layer, name)
            if layer.metadata["wsss"].get("colours") != tuple(colours):
                layer.colormap = DirectLabelColormap(color_dict=label_colormap(colours))
                layer.metadata["wsss"]["colours"] = tuple(colours)
        return layer

    def show_shapes(
        self, key: str, shapes: Sequence[NDArray[Any]], name: str, *, place: str = "correction", **style: Any
    ) -> Any:
        """Show shapes, each [N, 2] (y, x) px; `style` is what napari's Shapes take at the start."""
        layer = self.get(key)
        if layer is not None:
            layer.data = list(shapes)
            self.rename(layer, name)
            return layer
        return self._add(key, place, "add_shapes", list(shapes) or None, name=name, ndim=2, **style)

    def show_points(
        self, key: str, points: NDArray[Any], name: str, *, place: str = "correction", **style: Any
    ) -> Any:
        """Show points, [N, 2] (y, x) px; `style` is what napari's Points take at the start."""
        layer = self.get(key)
        if layer is not None:
            layer.data = points
            self.rename(layer, name)
            return layer
        return self._add(key, place, "add_points", points, name=name, ndim=2, **style)

    def show_vectors(
        self, key: str, vectors: NDArray[Any], name: str, *, place: str = "correction", **style: Any
    ) -> Any:
        """Show arrows, [N, 2, 2] (start, direction) px; `style` is what napari's Vectors take at the start."""
        layer = self.get(key)
        if layer is not None:
            layer.data = vectors
            self.rename(layer, name)
            return layer
        return self._add(key, place, "add_vectors", vectors, name=name, ndim=2, **style)

    def take(self, key: str, layer: Any, *, place: str) -> Any:
        """Add a layer that was made elsewhere and own it under a key."""
        self.remove(key)
        layer.metadata["wsss"] = {"key": key}
        return self._own(key, place, lambda: self.viewer.add_layer(layer))

    def remove(self, key: str) -> None:
        """Take a layer of ours away; nothing happens when there is none."""
        layer = self._owned.get(key)
        viewer = self.viewer
        if layer is None or viewer is None:
            return
        self._removing = True
        try:
            viewer.layers.remove(layer)
        finally:
            self._removing = False

    def remove_all(self, prefix: str = "") -> None:
        """Take away all layers of ours whose key begins with `prefix`, and nobody else's."""
        for key in list(self._owned):
            if key.startswith(prefix):
                self.remove(key)

    def _add(self, key: str, place: str, method: str, data: Any, **options: Any) -> Any:
        # napari gives `metadata` to the layer as it is; the key tells our layers apart in saved files.
        given = {"wsss": {"key": key}}
        return self._own(key, place, lambda: getattr(self.viewer, method)(data, metadata=given, **options))

    def _own(self, key: str, place: str, add: Callable[[], Any]) -> Any:
        viewer = self.viewer
        selected = set(viewer.layers.selection)
        layer = add()
        layer.metadata["wsss"]["name"] = layer.name
        layers = viewer.layers
        rank = PLACES.index(place)
        self._owned[key] = layer
        self._places[key] = rank
        above = [layers.index(o) for k, o in self._owned.items() if self._places[k] > rank]
        at = layers.index(layer)
        if above and min(above) < at:
            layers.move(at, min(above))
        if selected:
            # A new layer of ours must not take the tools away from the one a person works on.
            layers.selection = selected
        return layer

    def _on_removed(self, event: Any) -> None:
        for key, layer in list(self._owned.items()):
            if layer is event.value:
                del self._owned[key], self._places[key]
                if not self._removing:
                    self.deleted.emit(key)

    @staticmethod
    def rename(layer: Any, name: str) -> None:
        """Give one of our layers another name, unless a person gave it one: that stays."""
        ours = layer.metadata["wsss"]["name"]
        if layer.name == ours and name != ours:
            layer.name = name
            layer.metadata["wsss"]["name"] = layer.name
