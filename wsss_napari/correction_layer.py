"""The layer of the mask under correction: napari's tools paint on it, the edit room owns its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from engine.tools import component
from wsss_napari._compat import clear_paint_history, redraw, redraw_box
from wsss_napari._strokes import StrokeLabels
from wsss_napari.brush_wheel import resize_brush
from wsss_napari.correction import UNSURE, Box, Correction
from wsss_napari.layers import Layers
from wsss_napari.palette import HATCH, hatched, label_colormap, stripes

__all__ = ["KEY", "CorrectionLayer", "hatch_part", "unhatched"]

KEY = "correct:mask"
_TOOLS = {"paint": "Brush", "erase": "Eraser", "fill": "Fill", "polygon": "Polygon"}
#: What a person sets in napari's controls, and what it starts with.
_LOOK = {"opacity": 0.55, "contour": 0, "brush_size": 16, "contiguous": True, "blending": "translucent"}


class CorrectionLayer:
    """The `Surface` of a `Correction` and the `Painter` of its layer.

    The sheet holds 255 where it is unsure; the layer shows it as stripes of 255 and 254, made anew
    in the box that changes. While a hand moves, pixels go to the layer alone; when it lets go,
    the whole stroke is one step, and the box shows what the sheet then holds.

    Args:
        layers: The layers of the viewer.

    Attributes:
        erase_to: What the eraser brings back: "proposal" or "background".
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._correction: Correction | None = None
        self._mask: NDArray[np.uint8] | None = None
        self._names: tuple[str, ...] = ()
        self._colours: tuple[str, ...] = ()
        self._syncing = False
        self._last = 0
        self._mode = "paint"
        self._look: dict[str, Any] = dict(_LOOK)
        self.erase_to = "proposal"

    def attach(self, correction: Correction) -> None:
        """Serve a correction from now on."""
        self._correction = correction
        correction.value_changed.connect(self._select)

    def use_classes(self, names: Sequence[str], colours: Sequence[str]) -> None:
        """Take the project's classes and their `#RRGGBB`."""
        self._names, self._colours = tuple(names), tuple(colours)
        layer = self.layer
        if layer is not None and layer.metadata["wsss"].get("colours") != self._colours:
            layer.colormap = DirectLabelColormap(color_dict=label_colormap(self._colours))
            layer.metadata["wsss"]["colours"] = self._colours

    @property
    def layer(self) -> Any | None:
        """The layer, or None before the first image and after a person deleted it."""
        return self._layers.get(KEY)

    def value_name(self, value: int) -> str:
        """Return how people call what a mask holds."""
        if value in (0, UNSURE):
            return "background" if value == 0 else "unsure"
        return self._names[value - 1] if value <= len(self._names) else f"class {value}"

    # The surface.

    def settle(self) -> None:
        """Let a stroke that a hand is still drawing end here, as a step of the image it was drawn on."""
        if self.layer is not None:
            self.layer.settle()

    def show(self, stem: str, mask: NDArray[np.uint8], why_not: str) -> None:
        """Show another mask, or the same one again; with a reason why not, it cannot be painted on."""
        self._mask = mask
        layer = self.layer
        name = f"{stem} · correction"
        self._syncing = True
        try:
            if layer is None:
                layer = self._make(hatched(mask), name)
            elif layer.data.shape == mask.shape:
                hatched(mask, out=layer.data)
                redraw(layer)
            else:
                layer.data = hatched(mask)
            clear_paint_history(layer)
        finally:
            self._syncing = False
        self._layers.rename(layer, name)
        self._protect(layer, bool(why_not))

    def repaint(self, mask: NDArray[np.uint8], box: Box) -> None:
        """Show what a box of the mask holds now."""
        self._mask = mask
        layer = self.layer
        if layer is not None and box[0] < box[2] and box[1] < box[3]:
            self.restore(layer, box)
            redraw_box(layer, box)

    def close(self) -> None:
        """Take the layer away."""
        self._mask = None
        self._layers.remove(KEY)

    # The painter.

    def bucket(self, point: tuple[int, int], contiguous: bool) -> tuple[Box, NDArray[np.bool_]]:
        """Return the piece of one value under a point; the stripes of unsure pixels are one piece."""
        mask = self._mask
        assert mask is not None
        if contiguous:
            return component(mask, point)
        return (0, 0, *mask.shape), mask == mask[point]

    def dab(self, layer: Any, box: Box, region: NDArray[np.bool_], value: int, erase: bool) -> None:
        """Show what one touch of the brush changes, edit mask and hatch included."""
        correction = self._correction
        if correction is None or self._mask is None:
            return
        after = correction.preview(box, region, self._painted(box, value, erase))
        hatch_part(after, box, layer.data, region)

    def restore(self, layer: Any, box: Box) -> None:
        """Write what the mask holds in a box into the layer's data."""
        if self._mask is not None:
            hatch_part(self._mask[box[0] : box[2], box[1] : box[3]], box, layer.data)

    def stroke(self, tool: str, box: Box, region: NDArray[np.bool_], value: int, erase: bool) -> None:
        """Make one step of what was touched."""
        correction, layer = self._correction, self.layer
        if correction is None or layer is None:
            return
        params: dict[str, Any] = {"value": _held(value)}
        if tool in ("paint", "erase"):
            params["size"] = int(layer.brush_size)
        what = "to the proposal" if self._to_proposal() else "to background"
        name = f"Eraser: {what}" if erase else f"{_TOOLS.get(tool, 'Edit')}: {self.value_name(_held(value))}"
        code = {"paint": "brush", "erase": "eraser"}.get(tool, tool)
        if not correction.apply(name, code, box, region, self._painted(box, value, erase), params):
            self.restore(layer, box)
            redraw_box(layer, box)

    def travel(self, back: bool) -> None:
        """Undo or redo a step of the image in front."""
        if self._correction is not None:
            (self._correction.undo if back else self._correction.redo)()

    def _painted(self, box: Box, value: int, erase: bool) -> int | NDArray[np.uint8]:
        if not erase:
            return _held(value)
        if not self._to_proposal():
            return 0
        assert self._correction is not None and self._correction.sheet is not None
        proposal = self._correction.sheet.proposal
        assert proposal is not None
        return proposal[box[0] : box[2], box[1] : box[3]]

    def _to_proposal(self) -> bool:
        sheet = None if self._correction is None else self._correction.sheet
        return self.erase_to == "proposal" and sheet is not None and sheet.proposal is not None

    def _make(self, data: NDArray[np.uint8], name: str) -> Any:
        colormap = DirectLabelColormap(color_dict=label_colormap(self._colours))
        layer = StrokeLabels(data, painter=self, name=name, colormap=colormap)
        for field, value in self._look.items():
            setattr(layer, field, value)
        self._layers.take(KEY, layer, place="correction")
        layer.metadata["wsss"]["colours"] = self._colours
        layer.events.selected_label.connect(self._selected)
        layer.events.data.connect(self.foreign)
        for field in _LOOK:
            # Kept as it changes: other pages and people take layers away without a word.
            getattr(layer.events, field).connect(self._keep_look)
        layer.mouse_wheel_callbacks.append(_resize_brush)
        self._mode = "paint"
        layer.mode = "paint"
        if self._correction is not None:
            self._select(self._correction.value)
        return layer

    def _keep_look(self, event: Any) -> None:
        self._look[event.type] = getattr(event.source, event.type)

    def _protect(self, layer: Any, protected: bool) -> None:
        if protected and layer.editable:
            self._mode = str(layer.mode)
            layer.editable = False  # napari leaves the tools for its hand
        elif not protected and not layer.editable:
            layer.editable = True
            layer.mode = self._mode

    def _select(self, value: int) -> None:
        layer = self.layer
        if layer is not None and int(layer.selected_label) != value:
            self._syncing = True
            try:
                layer.selected_label = value
            finally:
                self._syncing = False
        self._last = value

    def _selected(self, _event: Any = None) -> None:
        """Follow the label that a person chose in napari's controls, by picking or by + and -."""
        layer, correction = self.layer, self._correction
        if layer is None or correction is None or self._syncing:
            return
        value, top = int(layer.selected_label), len(self._colours)
        picking = str(layer.mode) == "pick"
        if top < value < UNSURE:
            # Values that no class has lie between the last class and unsure; + and - pass over them.
            down = value == HATCH and self._last == UNSURE and not picking
            value = top if down else UNSURE
        correction.value = value
        self._select(value)

    def foreign(self, _event: Any = None) -> None:
        """Take what something else wrote into the layer's data as a step, so that no pixel is only on the screen."""
        layer, mask, correction = self.layer, self._mask, self._correction
        if self._syncing or layer is None or mask is None or correction is None or layer.stroking:
            return
        data = np.asarray(layer.data)
        taken = False
        if data.shape == mask.shape and data.dtype == np.uint8:
            after = unhatched(data)
            after[(after > len(self._colours)) & (after < UNSURE)] = UNSURE
            taken = correction.replace("Edit by another tool", "other", (0, 0, *mask.shape), after)
        if not taken:
            correction.show()
        clear_paint_history(layer)


def hatch_part(
    part: NDArray[np.uint8], box: Box, out: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> None:
    """Write a part of a mask into what a layer shows, unsure pixels as stripes that go on beyond the box.

    Args:
        part: [h, w] uint8, what the box of the mask holds.
        box: Where.
        out: [H, W] uint8, the layer's data.
        region: [h, w] bool, the pixels to write; all by default.
    """
    here = (slice(box[0], box[2]), slice(box[1], box[3]))
    shown = part - ((part == UNSURE) & stripes(*out.shape)[here].view(np.bool_)).view(np.uint8)  # [h, w]
    if region is None:
        out[here] = shown
    else:
        np.copyto(out[here], shown, where=region)


def unhatched(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a mask holds that is shown as `data`, [H, W] uint8."""
    return np.where(data == HATCH, np.uint8(UNSURE), data)


def _held(value: int) -> int:
    return UNSURE if value == HATCH else value


def _resize_brush(layer: Any, event: Any) -> None:
    """Ctrl and the wheel do what Alt and the wheel do, as in other programs."""
    if "Control" in event.modifiers and event.delta[1]:
        resize_brush(layer, float(event.delta[1]))
        event.handled = True
