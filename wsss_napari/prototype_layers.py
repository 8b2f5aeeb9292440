"""The layers of the Prototypes page: one a stage, one to paint a seed on, the neighbours' peaks, the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from wsss_napari.layer_group import PHOTOGRAPH, LayerGroup
from wsss_napari.layers import Layers
from wsss_napari.prototype_masks import FlatMask
from wsss_napari.prototype_stages import MASKS, STAGES, Stage
from wsss_napari.prototype_view import Peak, PrototypeScene
from wsss_napari.repaint import repaint

__all__ = ["PAINT", "PEAKS", "TRUTH", "PrototypeLayers"]

_PREFIX = "prototype:"
PAINT, PEAKS, TRUTH = "paint", "peaks", "truth"
_ORDER = (PHOTOGRAPH, *(s.key for s in STAGES), TRUTH, PEAKS, PAINT)
_LIT = "#F0E442"
# A cosine under 0 is drawn as 0: it says "not this", however much.
_COSINES = frozenset({"instance", "shift", "neighbours", "weights"})
# Two colours that colour-blind eyes tell apart; where the maps agree the photograph is seen.
_APART = Colormap(
    [(0.34, 0.71, 0.91, 1.0), (0.34, 0.71, 0.91, 0.0), (0.84, 0.37, 0.0, 0.0), (0.84, 0.37, 0.0, 1.0)],
    name="CAM to PACAM",
    controls=[0.0, 0.5, 0.5, 1.0],
)


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
        self._colours: tuple[str, ...] = ()
        self._masks: dict[str, FlatMask] = {}

    def clear(self) -> None:
        """Take all of them away; the photograph stays."""
        self._scene = None
        self._masks.clear()
        super().clear()

    def open(self, scene: PrototypeScene, name: str, colours: Sequence[str], colormap: str) -> None:
        """Show another scene from now on.

        Args:
            scene: What there is to see.
            name: Name of the class.
            colours: `#RRGGBB` of every class.
            colormap: Colours of the class map and the prototype-aware map, when they are made.
        """
        self._scene, self._name, self._colormap = scene, name, colormap
        self._colours, self._colour = tuple(colours), colours[scene.cls]
        self._masks.clear()

    def keep_mask(self, key: str, mask: FlatMask | None) -> None:
        """Keep what the stage `label` or `crf` shows from now on; None, as long as there is none."""
        self._masks.pop(key, None)
        if mask is not None:
            self._masks[key] = mask

    def show_truth(self, mask: NDArray[np.uint8] | None) -> None:
        """Show the truth [H, W] uint8 as outlines; None takes it away."""
        scene = self._scene
        if mask is None or scene is None:
            self._layers.remove(_PREFIX + TRUTH)
            return
        fresh = self.layer(TRUTH) is None
        title = f"{scene.view.image} · truth"
        layer = self._layers.show_labels(
            _PREFIX + TRUTH, mask, title, self._colours, opacity=1.0, contour=2, place="prototype"
        )
        with self.acting():
            layer.visible = True
        if fresh:
            self.put_in_order(TRUTH, layer, _ORDER)

    def show_peaks(self, peaks: Sequence[Peak] | None, lit: int | None = None) -> None:
        """Show where each neighbour's map is highest, the lit one in yellow; None hides them."""
        scene, layer = self._scene, self.layer(PEAKS)
        if peaks is None or scene is None:
            self._hide(PEAKS)
            return
        where = np.array([(p.y, p.x) for p in peaks], np.float32).reshape(-1, 2)
        rims = [_LIT if p.prototype == lit else "#ffffff" for p in peaks]
        title = f"{scene.view.image} · peaks of the neighbours · {self._name}"
        fresh = layer is None
        layer = self._layers.show_points(
            _PREFIX + PEAKS,
            where,
            title,
            place="prototype",
            size=scene.view.cell,
            face_color=self._colour,
            border_width=0.2,
            opacity=0.9,
        )
        layer.editable = False
        layer.size = scene.view.cell
        layer.face_color = self._colour
        layer.border_color = rims if rims else "#ffffff"
        layer.features = {
            "prototype": [p.prototype for p in peaks],
            "weight": [p.weight for p in peaks],
            "cosine": [p.cosine for p in peaks],
            "rows": [p.size for p in peaks],
            "epoch": [p.epoch + 1 for p in peaks],
        }
        if fresh:
            self.put_in_order(PEAKS, layer, _ORDER)
        with self.acting():
            layer.visible = True

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
        if scene is None:
            return
        layer = self.layer(stage.key)
        fresh = layer is None
        if stage.key in MASKS:
            mask = self._masks.get(stage.key)
            if mask is None:
                self._hide(stage.key)
                return
            layer = self._flat(stage, mask, scene)
        else:
            data = scene.stage(stage.key)
            if data is None:
                self._hide(stage.key)
                return
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
        apart = stage.key == "difference"
        shown = np.maximum(data, 0) if stage.key in _COSINES else data
        title = f"{scene.view.image} · {name} · {self._name}"
        if layer is not None and layer.data.shape == shown.shape and self._is_placed(layer, scene):
            # In place: setting `data` would also reckon extents and a thumbnail, at every move of a slider.
            layer.data[...] = shown
            repaint(self._layers.viewer, layer)
            self._layers.rename(layer, title)
            return layer
        aware = stage.key in ("cam", "pacam")
        return self._layers.show_map(
            _PREFIX + stage.key,
            shown.copy(),
            title,
            scale=(scene.view.cell, scene.view.cell),
            translate=(scene.view.origin, scene.view.origin),
            colormap=self._colormap if aware else _APART if apart else "viridis",
            limits=(-1.0, 1.0) if apart else (0.0, 1.0),
            opacity=0.85 if apart else 0.6,
            blending="additive" if aware else "translucent_no_depth",
            colorbar=aware or apart,
            place="prototype",
        )

    def settle(self) -> None:
        """Redraw what a fast move left out: the small pictures in the layer list."""
        for stage in STAGES:
            layer = self.layer(stage.key)
            if layer is not None and layer.visible:
                layer.refresh(extent=False, highlight=False)

    def _flat(self, stage: Stage, mask: FlatMask, scene: PrototypeScene) -> Any:
        title = f"{scene.view.image} · {stage.name}"
        layer = self._layers.show_labels(
            _PREFIX + stage.key, mask.mask, title, self._colours, place="prototype"
        )
        self._place(layer, mask.cell, mask.origin)
        return layer

    def _labels(self, key: str, mask: NDArray[np.uint8], name: str) -> Any:
        scene = self._scene
        assert scene is not None
        title = f"{scene.view.image} · {name} · {self._name}"
        colours: Sequence[str] = (self._colour,)
        layer = self._layers.show_labels(_PREFIX + key, mask, title, colours, opacity=0.6, place="prototype")
        self._place(layer, scene.view.cell, scene.view.origin)
        return layer

    @staticmethod
    def _place(layer: Any, cell: float, origin: float) -> None:
        for field, value in (("scale", (cell, cell)), ("translate", (origin, origin))):
            if tuple(getattr(layer, field)) != value:
                setattr(layer, field, value)

    @staticmethod
    def _is_placed(layer: Any, scene: PrototypeScene) -> bool:
        cell, origin = scene.view.cell, scene.view.origin
        return tuple(layer.scale) == (cell, cell) and tuple(layer.translate) == (origin, origin)
