"""The layers of the Climb page: what the shown step looks like, its mask, the truth, two branches side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from wsss_napari.climb_view import StepView
from wsss_napari.layer_group import PHOTOGRAPH, LayerGroup
from wsss_napari.layers import Layers
from wsss_napari.repaint import repaint
from wsss_napari.side_by_side import Box, SideBySide, painted_map

__all__ = ["LOOKS", "PHOTOGRAPH", "BranchPair", "ClimbLayers", "Look", "outlined", "painted_step"]

_PREFIX = "climb:"
_MASK, _TRUTH = "climb:mask", "climb:truth"
_CELL = "compare:"
# Both are told apart by every eye, on light and on dark photographs.
_M, _D, _BOTH = "#E69F00", "#56B4E9", "#F0E442"


@dataclass(frozen=True)
class Look:
    """One way to see a step: the key of its layer, words on the switch and in the layer's name, what it means."""

    key: str
    switch: str
    name: str
    tip: str
    on: bool = False
    pictures: bool = False


#: Bottom to top. The photograph's layer belongs to the desk, all others to this page.
LOOKS: tuple[Look, ...] = (
    Look(PHOTOGRAPH, "Photograph", "", "The image as it is, x^0", on=True),
    Look(
        "picture",
        "Perturbed picture",
        "picture at the step",
        "The climbed picture x^t: the photograph and what t steps added to it",
        pictures=True,
    ),
    Look(
        "perturbation",
        "Perturbation ×8",
        "perturbation ×8",
        "What t steps added to the photograph, x^t − x^0, eight times as strong around mid grey",
        pictures=True,
    ),
    Look(
        "saliency",
        "Saliency",
        "saliency",
        "How much the class's score answers to each pixel of the step's picture, |dy_c/dx^t| (its largest is 1)",
        pictures=True,
    ),
    Look(
        "sum",
        "Map so far",
        "map so far",
        "The map that becomes the label: A_t, the sum of R^0 … R^t over its peak (eq. 4)",
        on=True,
    ),
    Look(
        "cam",
        "Map of this step",
        "map of the step",
        "The class activation map of the step's picture alone, R^t over its peak",
    ),
    Look(
        "change",
        "Change since last step",
        "change",
        "A_t − A_{t−1}: orange where the step added to the map, blue where it took away; full colour at its largest "
        "change, which is told under the slider",
    ),
    Look(
        "restricting",
        "Restricting mask",
        "restricting mask",
        "Where the penalty holds the map still: orange M, cells that are high already (eq. 5); blue D, background by "
        "a saliency mask or by the first map; yellow both",
    ),
)
_ORDER = [look.key for look in LOOKS]


def _diverging() -> Colormap:
    """Return blue, nothing, orange: the photograph shows where nothing changes."""
    colours = [
        (0.0, 0.45, 0.70, 1.0),
        (0.2, 0.6, 0.85, 0.55),
        (1.0, 1.0, 1.0, 0.0),
        (0.9, 0.5, 0.1, 0.55),
        (0.84, 0.37, 0.0, 1.0),
    ]
    return Colormap(colours, name="wsss change", controls=[0.0, 0.25, 0.5, 0.75, 1.0])


class ClimbLayers(LayerGroup):
    """Shows the chosen looks of a step, each in a layer of its own that is made when it is first wanted.

    Only visible layers follow a step; a hidden one is brought up to date when it is shown,
    by its switch or by its eye in the layer list.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__(layers, _PREFIX)
        self._view: StepView | None = None
        self._step = 0
        self._name = ""
        self._colormap = "inferno"
        self._stamps: dict[str, tuple[int, int]] = {}
        self._turn = 0

    def clear(self) -> None:
        """Take all of them away; the photograph stays."""
        self._view = None
        self._stamps.clear()
        super().clear()

    def open(self, view: StepView, name: str, colormap: str) -> None:
        """Show another path from now on: the next `show` draws every visible layer anew.

        Args:
            view: Its steps.
            name: Name of the class.
            colormap: Colours of maps that are made from now on.
        """
        self._view, self._name, self._colormap = view, name, colormap
        self._turn += 1

    def show(self, step: int, wanted: Sequence[str]) -> None:
        """Show a step in the layers that are wanted and hide the others.

        Args:
            step: t.
            wanted: Keys of LOOKS.

        Raises:
            UserError: The climb's files are damaged.
        """
        self._step = step
        with self.acting():
            for look in LOOKS:
                layer = self.layer(look.key)
                on = look.key in wanted
                if look.key == PHOTOGRAPH or not on:
                    if layer is not None and layer.visible != on:
                        layer.visible = on
                    continue
                if not (look.pictures and self._view is not None and not self._view.has_pictures):
                    self._draw(look)

    def move(self, step: int) -> None:
        """Show another step in whatever is visible.

        Raises:
            UserError: The climb's files are damaged.
        """
        self._step = step
        with self.acting():
            for look in LOOKS[1:]:
                layer = self.layer(look.key)
                if layer is not None and layer.visible:
                    self._draw(look)

    def settle(self) -> None:
        """Redraw what a fast move left out: the small pictures in the layer list, napari's histograms."""
        for key in (*(look.key for look in LOOKS[1:]), "mask"):
            layer = self.layer(key)
            if layer is not None and layer.visible:
                layer.refresh(extent=False, highlight=False)

    def show_mask(self, image: str, mask: NDArray[np.uint8], colours: Sequence[str], style: str) -> None:
        """Show the mask of the rule `filled`, as `outline`, or not at all (`none`)."""
        layer = self._layers.get(_MASK)
        if style == "none":
            if layer is not None:
                layer.visible = False
            return
        fresh = layer is None
        name = f"{image} · climbed mask · {self._name}"
        # napari's own contour would take longer than all the rest of a frame.
        shown = outlined(mask) if style == "outline" else mask
        layer = self._layers.show_labels(_MASK, shown, name, colours)
        if fresh or layer.metadata["wsss"].get("style") != style:
            layer.metadata["wsss"]["style"] = style
            layer.opacity = 0.9 if style == "outline" else 0.45
        if not layer.visible:
            layer.visible = True

    def show_truth(self, image: str, mask: NDArray[np.uint8] | None, colours: Sequence[str]) -> None:
        """Show the truth as outlines over the mask; None takes it away."""
        if mask is None:
            self._layers.remove(_TRUTH)
        else:
            name = f"{image} · truth · {self._name}"
            layer = self._layers.show_labels(_TRUTH, mask, name, colours, opacity=1.0, contour=2)
            if not layer.visible:
                layer.visible = True

    def _draw(self, look: Look) -> None:
        """Bring one layer to the step and make it visible."""
        view, key = self._view, look.key
        if view is None or view.last < 0:
            return
        stamp, layer = (self._turn, self._step), self.layer(key)
        if layer is None or self._stamps.get(key) != stamp:
            layer = self._fill(look, layer, view)
            self._stamps[key] = stamp
        if not layer.visible:
            layer.visible = True

    def _fill(self, look: Look, layer: Any | None, view: StepView) -> Any:
        data = self._data(look.key, view)
        name = f"{view.leaf.image} · {look.name} · {self._name}"
        same_turn = self._stamps.get(look.key, (0, 0))[0] == self._turn
        if layer is not None and same_turn and layer.data.shape == data.shape and look.key != "restricting":
            # In place: setting `data` would also reckon extents and a thumbnail, at every frame.
            layer.data[...] = data
            repaint(self._layers.viewer, layer)
            return layer
        fresh = layer is None
        layer = self._shown(look.key, data, name, view)
        if fresh:
            self.put_in_order(look.key, layer, _ORDER)
            self.watch(look.key, layer, lambda: self._draw(look))
        return layer

    def _data(self, key: str, view: StepView) -> NDArray[Any]:
        reads: dict[str, Callable[[int], NDArray[Any]]] = {
            "picture": view.picture,
            "perturbation": view.perturbation,
            "saliency": view.saliency,
            "sum": view.aggregated,
            "cam": view.cam,
            "change": view.change,
            "restricting": view.restricting,
        }
        return reads[key](self._step)

    def _shown(self, key: str, data: NDArray[Any], name: str, view: StepView) -> Any:
        layers, leaf = self._layers, view.leaf
        cells: dict[str, Any] = {
            "scale": (leaf.cell, leaf.cell),
            "translate": (leaf.origin, leaf.origin),
            "place": "step",
        }
        pixels, first = view.picture_place
        full = _PREFIX + key
        match key:
            case "picture" | "perturbation":
                layer = layers.show_image(full, data, name, place="step")
                _place(layer, pixels, first)
                return layer
            case "restricting":
                layer = layers.show_labels(full, data, name, (_M, _D, _BOTH), opacity=0.5, place="step")
                _place(layer, cells["scale"], cells["translate"])
                return layer
            case "saliency":
                return layers.show_map(
                    full, data, name, scale=pixels, translate=first, colormap="gray", opacity=0.8,
                    blending="additive", place="step",
                )  # fmt: skip
            case "change":
                return layers.show_map(
                    full, data, name, **cells, colormap=_diverging(), limits=(-1.0, 1.0), opacity=0.85,
                    blending="translucent_no_depth",
                )  # fmt: skip
            case _:
                return layers.show_map(
                    full, data, name, **cells, colormap=self._colormap, opacity=0.6, colorbar=key == "sum",
                    blending="additive" if key == "sum" else "translucent_no_depth",
                )  # fmt: skip


class BranchPair:
    """Two branches at the same step in linked cells of the grid.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._grid = SideBySide(layers)

    @property
    def on(self) -> bool:
        """Whether they are shown."""
        return self._grid.on

    def show(self, boxes: Sequence[Box]) -> None:
        """Show the boxes; those of another step take the place of the old ones and leave the view as it is."""
        cells = [self._layers.get(f"{_CELL}{n}") for n in range(len(boxes))]
        if not self.on or None in cells:
            self._grid.show(boxes)
            return
        for n, box in enumerate(boxes):
            layer = self._layers.show_image(f"{_CELL}{n}", box.pixels, box.caption, place="correction")
            layer.name = box.caption

    def end(self) -> None:
        """Take them away; the grid and what was visible are as before."""
        self._grid.end()


def painted_step(
    photograph: NDArray[np.uint8],
    scores: NDArray[np.float32],
    mask: NDArray[np.uint8] | None,
    colour: tuple[int, int, int],
    colormap: str,
) -> NDArray[np.uint8]:
    """Return the photograph with a map and the outline of its mask over it, [H, W, 3] uint8.

    Args:
        photograph: [H, W, 3] uint8.
        scores: [H, W] float32 in [0, 1].
        mask: [H, W] uint8, or None for no outline.
        colour: Red, green, blue of the outline.
        colormap: Colours of the map.
    """
    painted = painted_map(photograph, scores, colormap)
    if mask is not None:
        painted[outlined(mask) > 0] = colour
    return painted


def outlined(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the rim of each region of a mask, 2 px wide and inside of it, [H, W] uint8."""
    edge = np.zeros(mask.shape, bool)
    for step in (1, 2):
        down = mask[step:] != mask[:-step]
        across = mask[:, step:] != mask[:, :-step]
        edge[step:] |= down
        edge[:-step] |= down
        edge[:, step:] |= across
        edge[:, :-step] |= across
    return mask * edge


def _place(layer: Any, scale: tuple[float, float], translate: tuple[float, float]) -> None:
    for field, value in (("scale", scale), ("translate", translate)):
        if tuple(getattr(layer, field)) != tuple(value):
            setattr(layer, field, value)
