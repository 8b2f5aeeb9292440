"""The bundled sample as layers: a few of its images with their truth. No download, no network."""

from __future__ import annotations

from typing import Any

from napari.utils.colormaps import DirectLabelColormap

from engine.colours import class_colours
from engine.images import find, read, read_mask
from engine.resources import resource
from wsss_napari.palette import hatched, label_colormap

__all__ = ["trained_sample"]

_SHOWN = 4
_GAP = 8


def trained_sample() -> list[tuple[Any, dict[str, Any], str]]:
    """Return the first images of the sample side by side, each with its truth over it.

    These are the images that `wsss demo` trains on. Open the WSSS dock to make a project of
    your own images.
    """
    folder = resource("sample")
    classes = (folder / "classes.txt").read_text(encoding="utf-8").split()
    colormap = label_colormap(class_colours(len(classes)))
    layers: list[tuple[Any, dict[str, Any], str]] = []
    left = 0.0
    for stem, path in list(find(folder / "images").stems.items())[:_SHOWN]:
        pixels = read(path).pixels
        mask = hatched(read_mask(folder / "masks" / f"{stem}.png"))
        place = {"translate": (0.0, left)}
        layers.append((pixels, {"name": stem, "rgb": True, **place}, "image"))
        look = {
            "name": f"{stem} · truth",
            "opacity": 0.5,
            "colormap": DirectLabelColormap(color_dict=colormap),
        }
        layers.append((mask, {**look, **place}, "labels"))
        left += pixels.shape[1] + _GAP
    return layers
