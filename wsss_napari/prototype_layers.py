"""The layers of the Prototypes page: one a stage, at the resolution of the features, and one to paint a seed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_napari.layer_group import PHOTOGRAPH, LayerGroup
from wsss_napari.layers import Layers
from wsss_napari.prototype_view import STAGES, PrototypeScene, Stage

__all__ = ["PAINT", "PrototypeLayers"]

_PREFIX = "prototype:"
PAINT = "paint"
_ORDER = (PHOTOGRAPH, *(s.key for s in STAGES), PAINT)
# A cosine under 0 is drawn as 0: it says "not this", however much.
_COSINES = frozenset({"instance", "shift", "neighbours", "weights"})


class PrototypeLayers(LayerGroup):
    """Shows the stage that is in front and hides the others; only what is visible is drawn.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__(layers, _PREFIX)
        self._scene: PrototypeScene | None = None
        self._name = ""
        self._colour = "#ffffff"
        self._colormap = "inferno"

    def clear(self) -> None:
        """Take all of them away; the photograph stays."""
        self._scene = None
        super().clear()

    def open(self, scene: PrototypeScene, name: str, colour: str, colormap: str) -> None:
        """Show another scene from now on.

        Args:
            scene: What there is to see.
            name: Name of the class.
            colour: `#RRGGBB` of it.
            colormap: Colours of the prototype-aware map, when it is made.
        """
        self._scene, self._name, self._colour, self._colormap = scene, name, colour, colormap

    def show(self, key: str) -> None:
        """Show the layer of one stage and hide those of the others; a stage without a map shows none."""
        with self.acting():
            for stage in STAGES:
                if stage.key == key:
                    self._draw(stage)
                else:
                    self._hide(stage.key)

    def paint(self, on: bool) -> NDArray[np.uint8] | None:
        """Begin to paint a seed, on what the seed holds now, or end it.

        Returns:
            What was painted when it ends, [h, w] uint8, or None when there is no such layer.
        """
        layer = self.layer(PAINT)
        viewer = self._layers.viewer
        if not on:
            painted = None if layer is None else np.asarray(layer.data, np.uint8).copy()
            self._layers.remove(_PREFIX + PAINT)
            return painted
        scene = self._scene
        if scene is None:
            return None
        begun = scene.stage("seed")
        seed = np.zeros(scene.grid, np.uint8) if begun is None else begun
        layer = self._labels(PAINT, seed, "paint a seed")
        layer.editable = True
        layer.brush_size = 3
        layer.selected_label = 1
        layer.mode = "paint"
        viewer.layers.selection = {layer}
        return None

    def _hide(self, key: str) -> None:
        layer = self.layer(key)
        if layer is not None and layer.visible:
            layer.visible = False

    def _draw(self, stage: Stage) -> None:
        """Bring one layer up to date and make it visible."""
        scene = self._scene
        data = None if scene is None else scene.stage(stage.key)
        if scene is None or data is None:
            self._hide(stage.key)
            return
        layer = self.layer(stage.key)
        fresh = layer is None
        layer = self._fill(stage, layer, data, scene)
        if fresh:
            self.put_in_order(stage.key, layer, _ORDER)
            self.watch(stage.key, layer, lambda: self._draw(stage))
        if not layer.visible:
            layer.visible = True

    def _fill(self, stage: Stage, layer: Any | None, data: NDArray[Any], scene: PrototypeScene) -> Any:
        name = stage.name
        if stage.key == "neighbours" and scene.passage is not None:
            name = f"neighbour {scene.passage.order[scene.place()]}"
        if stage.key == "seed":
            return self._labels(stage.key, data, name)
        shown = np.maximum(data, 0) if stage.key in _COSINES else data
        title = f"{scene.view.image} · {name} · {self._name}"
        if layer is not None and layer.data.shape == shown.shape and self._is_placed(layer, scene):
            # In place: setting `data` would also reckon extents and a thumbnail, at every move of a slider.
            layer.data[...] = shown
            layer.refresh(extent=False, thumbnail=False, highlight=False)
            self._layers.rename(layer, title)
            return layer
        aware = stage.key == "pacam"
        return self._layers.show_map(
            _PREFIX + stage.key,
            shown.copy(),
            title,
            scale=(scene.view.cell, scene.view.cell),
            translate=(scene.view.origin, scene.view.origin),
            colormap=self._colormap if aware else "viridis",
            blending="additive" if aware else "translucent_no_depth",
            colorbar=aware,
            place="prototype",
        )

    def settle(self) -> None:
        """Redraw what a fast move left out: the small pictures in the layer list."""
        for stage in STAGES:
            layer = self.layer(stage.key)
            if layer is not None and layer.visible:
                layer.refresh(extent=False, highlight=False)

    def _labels(self, key: str, mask: NDArray[np.uint8], name: str) -> Any:
        scene = self._scene
        assert scene is not None
        title = f"{scene.view.image} · {name} · {self._name}"
        colours: Sequence[str] = (self._colour,)
        layer = self._layers.show_labels(_PREFIX + key, mask, title, colours, opacity=0.6, place="prototype")
        cell, origin = scene.view.cell, scene.view.origin
        for field, value in (("scale", (cell, cell)), ("translate", (origin, origin))):
            if tuple(getattr(layer, field)) != value:
                setattr(layer, field, value)
        return layer

    @staticmethod
    def _is_placed(layer: Any, scene: PrototypeScene) -> bool:
        cell, origin = scene.view.cell, scene.view.origin
        return tuple(layer.scale) == (cell, cell) and tuple(layer.translate) == (origin, origin)
