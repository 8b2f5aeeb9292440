"""The layers of the Refine page: the mask and what changed in it, the stages, the fields behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.colours import class_colours
from engine.results import InstanceSet
from wsss_napari.climb_layers import outlined
from wsss_napari.layer_group import PHOTOGRAPH, LayerGroup
from wsss_napari.layers import Layers
from wsss_napari.refine_looks import LOOKS, ORDER
from wsss_napari.refine_view import Change, Patch, TraceView, boxes_around, wheel

__all__ = ["CHANGED_COLOURS", "RefineLayers"]

_PREFIX = "refine:"
#: Of pixels that became a class, and of those that became background; no class has them.
CHANGED_COLOURS = ("#FFFFFF", "#000000")
_MOST_INSTANCES = 250
_PLACE = "refinement"


class RefineLayers(LayerGroup):
    """Shows the chosen looks of a refinement, each in a layer of its own that is made when it is first wanted.

    Args:
        layers: The layers of the viewer.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__(layers, _PREFIX)
        self._view: TraceView | None = None
        self._instances: InstanceSet | None = None
        self._change: Change | None = None
        self._patch: Patch | None = None
        self._image = ""
        self._names: tuple[str, ...] = ()
        self._colours: tuple[str, ...] = ()
        self._colormap = "inferno"
        self._stage = self._iteration = 0
        self._cls: int | None = None
        # Key -> what its layer shows, so that nothing is drawn twice.
        self._stamps: dict[str, tuple[Any, ...]] = {}
        self._turn = 0

    def clear(self) -> None:
        """Take all of them away; the photograph stays."""
        self._view = self._instances = self._change = self._patch = None
        self._stamps.clear()
        super().clear()

    def open(
        self,
        image: str,
        view: TraceView | None,
        instances: InstanceSet | None,
        names: Sequence[str],
        colours: Sequence[str],
        colormap: str,
    ) -> None:
        """Show another result from now on.

        Args:
            image: Stem of the image.
            view: Its stages, or None where none were kept.
            instances: Its instances, or None.
            names, colours: Name and `#RRGGBB` of each class of the project.
            colormap: Colours of maps that are made from now on.
        """
        self._image, self._view, self._instances = image, view, instances
        self._names, self._colours, self._colormap = tuple(names), tuple(colours), colormap
        self._change = self._patch = None
        self._turn += 1

    def begin(self, image: str, colours: Sequence[str]) -> None:
        """Take the image whose source's mask may be shown, before there is a result of it."""
        self._image, self._colours = image, tuple(colours)

    def hide_all(self) -> None:
        """Hide all of them, as while a key is held."""
        for key in ORDER:
            self._set_visible(key, False)

    def there(self, key: str) -> bool:
        """Return whether a look of LOOKS can be drawn for what is open."""
        if key == PHOTOGRAPH:
            return True
        if key == "changed":
            return self._change is not None
        if key == "instances":
            return self._instances is not None
        return self._view is not None and self._view.has(key)

    def show(self, stage: int, iteration: int, cls: int | None, wanted: Sequence[str]) -> None:
        """Show a stage in the layers that are wanted and hide the others.

        Args:
            stage: Index of the stage.
            iteration: Index of the centroids' iteration.
            cls: Class whose score is shown, None for the background.
            wanted: Keys of LOOKS.
        """
        self._stage, self._iteration, self._cls = stage, iteration, cls
        with self.acting():
            for look in LOOKS:
                on = look.key in wanted and self.there(look.key)
                on = on and (look.key != "patch" or self._patch is not None)
                if look.key == PHOTOGRAPH or not on:
                    self._set_visible(look.key, on)
                else:
                    self._draw(look.key)
            self._set_visible("boxes", "instances" in wanted and self._instances is not None)

    def show_change(self, change: Change | None) -> None:
        """Take what changed; the next `show` draws it."""
        self._change = change
        self._stamps.pop("changed", None)

    def show_patch(self, patch: Patch | None) -> None:
        """Take the affinities of a cell; the next `show` draws them."""
        self._patch = patch
        self._stamps.pop("patch", None)
        if patch is None:
            self._set_visible("patch", False)

    def show_mask(self, name: str, mask: NDArray[np.uint8], style: str) -> None:
        """Show a mask [H, W] uint8 `filled`, as `outline`, or not at all (`none`)."""
        if style == "none":
            self._set_visible("mask", False)
            return
        shown = outlined(mask) if style == "outline" else mask
        layer = self._labels("mask", shown, f"{self._image} · {name}", self._colours)
        if layer.metadata["wsss"].get("style") != style:
            layer.metadata["wsss"]["style"] = style
            layer.opacity = 0.9 if style == "outline" else 0.45
        self._set_visible("mask", True)

    def show_truth(self, mask: NDArray[np.uint8] | None) -> None:
        """Show the truth as outlines over the mask; None takes it away."""
        if mask is None:
            self._layers.remove(_PREFIX + "truth")
            return
        # Its void rim would be outlined too.
        shown = np.where(mask == 255, np.uint8(0), mask)
        self._labels("truth", outlined(shown), f"{self._image} · truth", self._colours, opacity=1.0)
        self._set_visible("truth", True)

    def show_preview(self, image: str, words: str, mask: NDArray[np.uint8], cell: float) -> None:
        """Show a small mask [h, w] uint8 of cells of `cell` px over the image; the result's is hidden meanwhile."""
        name = f"{image} · preview · {words}"
        layer = self._labels("preview", mask, name, self._colours)
        first = (cell - 1) / 2
        _place(layer, (cell, cell), (first, first))
        self.show_preview_again()

    def show_preview_again(self) -> None:
        """Show the preview alone, which is there and was hidden."""
        self.hide_all()
        self._set_visible("preview", True)

    def end_preview(self) -> None:
        """Take the preview away."""
        self._layers.remove(_PREFIX + "preview")

    @property
    def previewing(self) -> bool:
        """Whether a preview is shown."""
        layer = self.layer("preview")
        return layer is not None and bool(layer.visible)

    def _draw(self, key: str) -> None:
        """Bring one layer up to date and make it visible."""
        stamp: tuple[Any, ...] = (self._turn,)
        if key in ("score", "entropy", "stage"):
            stamp = (self._turn, self._stage, self._cls if key == "score" else None)
        elif key == "centroids":
            stamp = (self._turn, self._iteration)
        if self.layer(key) is None or self._stamps.get(key) != stamp:
            draws: dict[str, Callable[[], None]] = {
                "changed": self._draw_changed,
                "instances": self._draw_instances,
                "patch": self._draw_patch,
                "arrows": self._draw_arrows,
                "centroids": self._draw_centroids,
                "confident": self._draw_confident,
                "wheel": self._draw_wheel,
                "stage": self._draw_stage,
            }
            if key in draws:
                draws[key]()
            else:
                self._draw_map(key)
            self._stamps[key] = stamp
        self._set_visible(key, True)

    def _draw_map(self, key: str) -> None:
        view = self._view
        assert view is not None
        if key == "score":
            data, what = view.score(self._stage, self._cls), "background"
            what = "background" if self._cls is None else self._names[self._cls]
            name = f"{self._image} · score · {what}"
        elif key == "entropy":
            data, name = view.entropy(self._stage), f"{self._image} · entropy"
        else:
            data, name = np.asarray(view.trace.fields["edge"], np.float32), f"{self._image} · boundary"
        fresh = self.layer(key) is None
        layer = self._layers.show_map(
            _PREFIX + key,
            data,
            name,
            scale=(view.trace.cell, view.trace.cell),
            translate=(view.trace.origin, view.trace.origin),
            colormap="inferno" if key == "edge" else self._colormap if key == "score" else "viridis",
            opacity=0.7,
            blending="translucent_no_depth",
            colorbar=key == "score",
            place=_PLACE,
        )
        self._settle(key, layer, fresh)

    def _draw_wheel(self) -> None:
        view = self._view
        assert view is not None
        fresh = self.layer("wheel") is None
        layer = self._layers.show_image(
            _PREFIX + "wheel", view.wheel(), f"{self._image} · displacement colours", place=_PLACE
        )
        _place(layer, (view.trace.cell,) * 2, (view.trace.origin,) * 2)
        if fresh:
            layer.opacity = 0.75
        self._settle("wheel", layer, fresh)

    def _draw_stage(self) -> None:
        view = self._view
        assert view is not None
        mask = outlined(view.mask(self._stage))
        self._labels("stage", mask, f"{self._image} · mask of the stage", self._colours, opacity=0.9)

    def _draw_changed(self) -> None:
        change = self._change
        assert change is not None
        name = f"{self._image} · changed"
        self._labels("changed", change.hatch, name, CHANGED_COLOURS, opacity=0.85)

    def _draw_confident(self) -> None:
        assert self._view is not None
        mask = np.asarray(self._view.trace.fields["confident"], np.uint8)
        self._labels("confident", mask, f"{self._image} · confident label", self._colours)

    def _draw_instances(self) -> None:
        found = self._instances
        assert found is not None
        shades = class_colours(min(len(found.classes), _MOST_INSTANCES))
        ids = np.where(found.ids <= _MOST_INSTANCES, found.ids, 0).astype(np.uint8)
        self._labels("instances", ids, f"{self._image} · instances", shades)
        self._layers.remove(_PREFIX + "boxes")  # napari's texts of shapes cannot be exchanged with the shapes
        around = [(n, box) for n, box in boxes_around(found) if n < _MOST_INSTANCES]
        if around:
            said = [f"{self._names[found.classes[n]]} {found.scores[n]:.2f}" for n, _ in around]
            layer = self._layers.show_shapes(
                _PREFIX + "boxes",
                [box for _, box in around],
                f"{self._image} · boxes of instances",
                place=_PLACE,
                shape_type="rectangle",
                face_color="transparent",
                edge_color=[shades[n] for n, _ in around],
                edge_width=max(found.ids.shape) / 250,
                text={"string": said, "anchor": "upper_left", "color": "white", "size": 10},
            )
            layer.editable = False
            self.put_in_order("boxes", layer, ORDER)

    def _draw_arrows(self) -> None:
        view = self._view
        assert view is not None
        arrows, angles = view.arrows()
        # Fully coloured, as the wheel shows the longest: (dy, dx) of length 1.
        shades = wheel(np.stack([np.sin(angles), np.cos(angles)])[:, None])[0] / 255.0  # [n, 3]
        fresh = self.layer("arrows") is None
        layer = self._layers.show_vectors(
            _PREFIX + "arrows",
            arrows,
            f"{self._image} · displacement",
            place=_PLACE,
            edge_width=max(view.trace.size) / 350,
            vector_style="arrow",
        )
        layer.edge_color = np.concatenate([shades, np.ones((len(shades), 1))], 1)
        self._settle("arrows", layer, fresh)

    def _draw_centroids(self) -> None:
        view = self._view
        assert view is not None
        fresh = self.layer("centroids") is None
        layer = self._layers.show_points(
            _PREFIX + "centroids",
            view.centroids(self._iteration),
            f"{self._image} · centroids",
            place=_PLACE,
            size=max(view.trace.size) / 90,
            face_color="#56B4E9",
            border_color="black",
            border_width=0.15,
            opacity=0.8,
        )
        layer.editable = False
        self._settle("centroids", layer, fresh)

    def _draw_patch(self) -> None:
        patch = self._patch
        if patch is None:
            return
        fresh = self.layer("patch") is None
        layer = self._layers.show_map(
            _PREFIX + "patch",
            patch.values,
            f"{self._image} · affinity",
            scale=(patch.cell, patch.cell),
            translate=patch.corner,
            colormap="viridis",
            opacity=0.95,
            blending="translucent_no_depth",
            place=_PLACE,
        )
        if fresh:
            layer.interpolation2d = "nearest"
        self._settle("patch", layer, fresh)

    def _labels(
        self, key: str, mask: NDArray[np.uint8], name: str, colours: Sequence[str], opacity: float = 0.45
    ) -> Any:
        fresh = self.layer(key) is None
        layer = self._layers.show_labels(_PREFIX + key, mask, name, colours, opacity=opacity, place=_PLACE)
        self._settle(key, layer, fresh)
        return layer

    def _settle(self, key: str, layer: Any, fresh: bool) -> None:
        if fresh:
            self.put_in_order(key, layer, ORDER)
            if key in {look.key for look in LOOKS}:
                self.watch(key, layer, lambda: self._seen(key))

    def _seen(self, key: str) -> None:
        """Bring a layer up to date that a person made visible by its eye."""
        if self.there(key):
            self._draw(key)

    def _set_visible(self, key: str, on: bool) -> None:
        layer = self.layer(key)
        if layer is not None and layer.visible != on:
            with self.acting():
                layer.visible = on


def _place(layer: Any, scale: tuple[float, float], translate: tuple[float, float]) -> None:
    for field, value in (("scale", scale), ("translate", translate)):
        if tuple(getattr(layer, field)) != tuple(value):
            setattr(layer, field, value)
